"""Where the pieces lie that all pocket models are made of: a VAE and a text encoder with its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

#: The assets that come with the package.
ASSETS = Path(__file__).parents[2] / "pocket" / "assets"


class PocketPieces(NamedTuple):
    """The files of the pieces."""

    vae: Path
    text_encoder: Path
    tokenizer: Path


def pocket_pieces(assets: Path) -> PocketPieces:
    """Name the files of the pieces in an assets folder; nothing is opened."""
    return PocketPieces(
        assets / "wan_pocket_vae.safetensors", assets / "umt5_pocket.safetensors", assets / "tokenizer.json"
    )
