"""Where each piece of a Cosmos model lies on disk, found from what the user named, before anything is read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoints.checkpoint import CHECKPOINT_SUFFIXES
from ...errors import ModelError
from ...wording import said
from ..pieces.places import existing, needed, optional, read_index
from ..pieces.pocket import ASSETS, pocket_pieces
from ..pieces.vae import VAE_EXPECTED
from .pocket import POCKET_COSMOS, cosmos_pocket

#: The pipeline of a `model_index.json` that is Cosmos Predict2's.
PIPELINES = ("Cosmos2VideoToWorldPipeline",)


@dataclass(frozen=True)
class CosmosSources:
    """The files or folders of one model's pieces.

    Attributes:
        high: the transformer, the only expert; so called as in every family.
        vae_expected, text_expected: what would satisfy the piece where it is None.
    """

    high: Path
    vae: Path | None = None
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    vae_expected: str = VAE_EXPECTED
    text_expected: str = "a T5-11B text encoder, such as oldt5_xxl_fp8_e4m3fn_scaled.safetensors"


def find_sources(source: str | Path, **pieces: str | Path | None) -> CosmosSources:
    """Find the pieces of the pocket model, a diffusers folder or a single file; given ones go first.

    `pieces` are fields of `CosmosSources`.
    """
    given: dict[str, Any] = {name: existing(path, name) for name, path in pieces.items() if path is not None}
    path = Path(source).expanduser()
    if str(source) == POCKET_COSMOS:
        found = CosmosSources(cosmos_pocket(), *pocket_pieces(ASSETS))
    else:
        found = _folder(path) if path.is_dir() else _single_file(path)
    return dataclasses.replace(found, **given)


def _single_file(path: Path) -> CosmosSources:
    if not path.is_file():
        expected = said(
            "{pocket}, a diffusers folder, or a file ending in {checkpoint_suffixes}",
            pocket=POCKET_COSMOS,
            checkpoint_suffixes=", ".join(CHECKPOINT_SUFFIXES),
        )
        raise ModelError(path, "no such file or folder", expected=expected, remedy="Check the path")
    return CosmosSources(path)


def _folder(root: Path) -> CosmosSources:
    read_index(root, PIPELINES, said("Choose a folder of Cosmos Predict2 Video2World"))
    return CosmosSources(
        high=needed(root / "transformer"),
        vae=optional(root / "vae"),
        text_encoder=optional(root / "text_encoder"),
        tokenizer=optional(root / "tokenizer"),
        vae_expected=f"the folder {root / 'vae'}",
        text_expected=f"the folder {root / 'text_encoder'}",
    )
