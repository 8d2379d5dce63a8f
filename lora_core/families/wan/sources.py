"""Where each piece of a Wan model lies on disk, found from what the user named, before anything is read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoints.checkpoint import CHECKPOINT_SUFFIXES
from ...errors import ModelError
from ...experts.twins import expert_of_path, twin_names, twin_of
from ...experts.words import expert_in_name
from ...wording import said
from ..pieces.places import existing, needed, optional, read_index, stated_shift
from ..pieces.vae import VAE_EXPECTED
from .pocket import POCKET_MODELS, pocket_paths

#: The pipelines of a `model_index.json` that are Wan's with nothing added.
PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")


@dataclass(frozen=True)
class WanSources:
    """The files or folders of one model's pieces.

    Attributes:
        low: the low-noise expert, or None when the model has one expert, which is then `high`.
        image_encoder: which only Wan 2.1's image models have.
        vae_expected, text_expected, image_encoder_expected: what would satisfy the piece where it is None.
        boundary, shift, expand_timesteps: what a diffusers folder states; None where nothing does.
    """

    high: Path
    low: Path | None = None
    vae: Path | None = None
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    image_encoder: Path | None = None
    vae_expected: str = VAE_EXPECTED
    text_expected: str = "a UMT5 text encoder, such as umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    image_encoder_expected: str = "a CLIP vision encoder, such as clip_vision_h.safetensors"
    boundary: float | None = None
    shift: float | None = None
    expand_timesteps: bool | None = None


def find_sources(
    source: str | Path,
    *,
    low_noise: str | Path | None = None,
    text_encoder: str | Path | None = None,
    tokenizer: str | Path | None = None,
    vae: str | Path | None = None,
    image_encoder: str | Path | None = None,
) -> WanSources:
    """Find the pieces of a pocket model, of a diffusers folder or of one or two single files; given ones go first."""
    arguments = {
        "low_noise": low_noise,
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "image_encoder": image_encoder,
    }
    given: dict[str, Any] = {name: existing(path, name) for name, path in arguments.items() if path is not None}
    low = given.pop("low_noise", None)
    if str(source) in POCKET_MODELS:
        found = _pocket(str(source))
    else:
        path = Path(source).expanduser()
        found = _folder(path) if path.is_dir() else _single_files(path, low)
    if low is not None:
        given["low"] = low
    return dataclasses.replace(found, **given)


def _pocket(model: str) -> WanSources:
    paths = pocket_paths(model=model)
    return WanSources(paths.high_noise, paths.low_noise, paths.vae, paths.text_encoder, paths.tokenizer)


def _single_files(path: Path, low: Path | None) -> WanSources:
    if not path.is_file():
        expected = said(
            '"pocket", a diffusers folder, or a file ending in {checkpoint_suffixes}',
            checkpoint_suffixes=", ".join(CHECKPOINT_SUFFIXES),
        )
        raise ModelError(path, "no such file or folder", expected=expected, remedy="Check the path")
    expert, _ = expert_of_path(path) or (None, "")
    if low is not None and expert == "low_noise" and expert_in_name(low.stem) == "high_noise":
        what = said("is the low-noise expert, given in the place of {low}", low=low.name)
        raise ModelError(path, what, remedy="Exchange the two files")
    if low is not None and low.resolve() == path.resolve():
        raise ModelError(path, "is given as both experts", remedy="Name the other expert's file, or no low-noise one")
    if low is not None or expert is None:
        return WanSources(path, low)
    twin = twin_of(path)
    if twin is None and expert_in_name(path.stem) is None:
        return WanSources(path)  # its folder alone tells an expert
    if twin is None:
        other, names = "low" if expert == "high_noise" else "high", " or ".join(twin_names(path)[:2])
        remedy = "Put it beside this file or name both experts"
        raise ModelError(path, said("the {other}-noise expert is missing", other=other), expected=names, remedy=remedy)
    return WanSources(path, twin) if expert == "high_noise" else WanSources(twin, path)


def _folder(root: Path) -> WanSources:
    index = read_index(root, PIPELINES, said("Choose a folder of Wan"))
    boundary = index.get("boundary_ratio")
    return WanSources(
        high=needed(root / "transformer"),
        low=needed(root / "transformer_2") if _states(index, "transformer_2") else None,
        vae=optional(root / "vae"),
        text_encoder=optional(root / "text_encoder"),
        tokenizer=optional(root / "tokenizer"),
        image_encoder=optional(root / "image_encoder"),
        vae_expected=f"the folder {root / 'vae'}",
        text_expected=f"the folder {root / 'text_encoder'}",
        image_encoder_expected=f"the folder {root / 'image_encoder'}",
        boundary=boundary if isinstance(boundary, float) else None,
        shift=stated_shift(root),
        expand_timesteps=index.get("expand_timesteps") is True,
    )


def _states(index: dict[str, Any], part: str) -> bool:
    """Say whether a model index names a part; an absent one is written as [null, null]."""
    entry = index.get(part)
    return isinstance(entry, list) and entry[-1] is not None
