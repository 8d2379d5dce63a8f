"""Where the file of the pocket Cosmos lies, the tiny one that `lora_core/pocket` trains and ships."""

from __future__ import annotations

from pathlib import Path

from ..pieces.pocket import ASSETS

#: What to say instead of a path for it; beside it lie the pieces that all pocket models share.
POCKET_COSMOS = "pocket-cosmos"
#: Its LoRA, which is inside a checkpoint as NVIDIA's post-training leaves it.
POCKET_COSMOS_LORA = "cosmos_orbit"


def cosmos_pocket(assets: Path | None = None) -> Path:
    """Name the network's file, the shipped one or that of another assets folder; nothing is opened."""
    return (assets or ASSETS) / "cosmos_pocket.safetensors"


def cosmos_pocket_lora(assets: Path | None = None) -> Path:
    """Name the checkpoint that its LoRA is in, the shipped one or that of another assets folder; nothing is opened."""
    return (assets or ASSETS) / f"{POCKET_COSMOS_LORA}_iter_000002000.pt"
