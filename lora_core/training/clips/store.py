"""The store: a cache folder whose entries are named by a hash of all they depend on.

An entry appears whole or not at all, so any number of processes may fill one store at once: what two of them write
under one name is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...atomic import replacing
from ...checkpoints.hashes import hashes_of
from ...checkpoints.saving import save_tensors
from ...families.opened import OpenedModel
from ..settings.clips import ClipSettings
from .background import parse_colour
from .encode import LATENTS, TEXT
from .takes import Take
from .variants import Variant

#: To be raised whenever a clip or caption is to be encoded otherwise than before.
_VERSION = 2


@dataclass(frozen=True)
class Store:
    """A cache on disk, and the encoders whose work it keeps.

    Attributes:
        folder: holds `latents` and `texts`.
        vision: what latents depend on beside the clip.
        language: what texts depend on beside the caption.
    """

    folder: Path
    vision: Mapping[str, object]
    language: Mapping[str, object]

    def latents(self, take: Take, variant: Variant) -> Path:
        """Return where the latents of a take in a variant are kept."""
        key = {
            "clip": take.clip.probe.fingerprint,
            "window": [take.window.first, take.window.num_frames, take.window.fps],
            "size": [take.bucket.height, take.bucket.width],
            "variant": [variant.across, variant.down, variant.mirrored],
            **self.vision,
        }
        return self.folder / "latents" / f"{hash_of(key)}.safetensors"

    def text(self, caption: str) -> Path:
        """Return where the embedding of a caption is kept."""
        return self.folder / "texts" / f"{hash_of({'caption': caption, **self.language})}.safetensors"

    def has_latents(self, take: Take, variant: Variant) -> bool:
        """Say whether the latents of a take in a variant are there, to the last byte."""
        return _is_whole(self.latents(take, variant), LATENTS)

    def has_text(self, caption: str) -> bool:
        """Say whether the embedding of a caption is there, to the last byte."""
        return _is_whole(self.text(caption), TEXT)


def store_for(model: OpenedModel, settings: ClipSettings, folder: Path) -> Store:
    """Return the store in `folder` for what the encoders of a model make of clips."""
    needed = {"vae", "text_encoder", "tokenizer"} | ({"image_encoder"} if model.spec.image_embeds else set())
    hashes = hashes_of({piece: path for piece, path in model.files.items() if piece in needed})
    spec = model.spec
    vision = {
        "version": _VERSION,
        "background": parse_colour(settings.background),
        "encoders": [hashes.get("vae"), hashes.get("image_encoder")],
        "told": [spec.image_conditioned, spec.image_embeds, spec.first_and_last],
    }
    language = {
        "version": _VERSION,
        "encoders": [hashes.get("text_encoder"), hashes.get("tokenizer")],
        "dtype": str(model.dtype),
    }
    return Store(folder, vision, language)


def write_entry(file: Path, tensors: Mapping[str, Tensor], shows: str) -> None:
    """Write an entry, with what it shows for those who look into the folder."""
    with replacing(file) as temporary:
        save_tensors(tensors, temporary, {"shows": shows})


def hash_of(key: object) -> str:
    """Return the sha256 of what JSON says of a value."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def _is_whole(file: Path, name: str) -> bool:
    """Say whether an entry is there and as long as its header says, with a tensor of this name."""
    try:
        with safe_open(file, framework="pt") as entry:
            return name in list(entry.keys())
    except (OSError, SafetensorError):
        return False
