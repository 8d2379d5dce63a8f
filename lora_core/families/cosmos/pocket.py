"""Where the file of the pocket Cosmos lies, the tiny one that `lora_core/pocket` trains and ships."""

from __future__ import annotations

from pathlib import Path

from ..pieces.pocket import ASSETS

#: What to say instead of a path for it; beside it lie the pieces that all pocket models share.
POCKET_COSMOS = "pocket-cosmos"


def cosmos_pocket(assets: Path | None = None) -> Path:
    """Name the network's file, the shipped one or that of another assets folder; nothing is opened."""
    return (assets or ASSETS) / "cosmos_pocket.safetensors"
