"""The files that a model, a CLIP and a VAE came from, as the trainer takes them: it reads them itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy.sd import CLIP, VAE

from ..lora_core import ModelError
from ..lora_core.families.wan.pocket import POCKET_MODELS, pocket_paths
from ..lora_core.families.wan.sources import find_sources
from ..lora_core.wording import said
from .sockets import WanModelHandle

#: The trainer's keys that name files -> the model folders they are looked for in.
FILE_KEYS: Mapping[str, tuple[str, ...]] = {
    "model": ("diffusion_models",),
    "low_noise": ("diffusion_models",),
    "text_encoder": ("text_encoders",),
    "tokenizer": ("text_encoders",),
    "vae": ("vae",),
    "image_encoder": ("clip_vision",),
}
#: How core's loaders remember what they loaded: the function's name -> its argument that holds the path.
_LOADERS = {"load_clip_model_patcher": 0, "load_vae_patcher": 0}


def named_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that settings name, each found in ComfyUI's folder for its kind."""
    return {key: _found(key, str(value)) for key, value in settings.items() if key in FILE_KEYS}


def base_files(model: WanModelHandle, clip: CLIP | None, vae: VAE | None, named: Mapping[str, str]) -> dict[str, str]:
    """Return the trainer's keys for the files of a model; those that are named go first, then those of CLIP and VAE.

    Raises:
        ModelError: of the model, or of one of the two, nobody knows the file.
    """
    own = {} if "model" in named else _of_model(model)
    patchers = {"text_encoder": (clip, "CLIP"), "vae": (vae, "VAE")}
    given = {
        key: _of_patcher(part, kind, key)
        for key, (part, kind) in patchers.items()
        if part is not None and key not in named
    }
    is_pocket = (own | named)["model"] in POCKET_MODELS
    if is_pocket:  # which brings its own; what came from it is nothing else
        brought = {str(pocket_paths().text_encoder), str(pocket_paths().vae)}
        given = {key: path for key, path in given.items() if path not in brought}
    files = own | given | named
    for key, what in (("text_encoder", "text encoder"), ("vae", "VAE")):
        if key not in files and not is_pocket:
            remedy = said("Choose one in LoadWanModel, connect one, or add the line {key}=FILE to 'settings'", key=key)
            raise ModelError("TrainLoraFromClips", said("no {what} for the training", what=what), remedy=remedy)
    return files


def _of_model(model: WanModelHandle) -> dict[str, str]:
    if model.sources is None:
        what = "nobody knows the files that this model came from, and the trainer reads them itself"
        remedy = "Use LoadWanModel, or add the lines model=FILE and low_noise=FILE to 'settings'"
        raise ModelError("TrainLoraFromClips", what, expected="a model from LoadWanModel", remedy=remedy)
    sources = model.sources
    if name := next((name for name in POCKET_MODELS if sources.high == pocket_paths(model=name).high_noise), None):
        return {"model": name}
    if sources.low is None and find_sources(sources.high).low is not None:
        remedy = "Choose 'auto' as its low_noise in LoadWanModel; the input 'experts' says which of the two learns"
        raise ModelError(sources.high.name, "is one of a pair, and was loaded as a single expert", remedy=remedy)
    pieces = {"model": sources.high, **{key: getattr(sources, piece) for key, piece in _PIECES.items()}}
    return {key: str(path) for key, path in pieces.items() if path is not None}


#: The trainer's key -> the name of the piece among a model's sources.
_PIECES = {"low_noise": "low", "text_encoder": "text_encoder", "vae": "vae", "image_encoder": "image_encoder"}


def _of_patcher(part: CLIP | VAE, kind: str, key: str) -> str:
    """Return the file that core's loader, or ours, opened for a CLIP or a VAE."""
    remembered = getattr(getattr(part, "patcher", None), "cached_patcher_init", None)
    if remembered is not None and remembered[0].__module__.endswith("pocket_clip"):
        return str(pocket_paths().text_encoder)
    path = None
    if remembered is not None and remembered[0].__name__ in _LOADERS:
        path = remembered[1][_LOADERS[remembered[0].__name__]]
        path = path[0] if isinstance(path, (list, tuple)) and len(path) == 1 else path
    if not isinstance(path, (str, Path)):
        remedy = said("Disconnect it where LoadWanModel has one, or add the line {key}=FILE to 'settings'", key=key)
        raise ModelError(
            "TrainLoraFromClips", said("nobody knows the file that this {kind} came from", kind=kind), remedy=remedy
        )
    return str(path)


def _found(key: str, name: str) -> str:
    if key == "model" and name in POCKET_MODELS:
        return name
    for folder in FILE_KEYS[key]:
        if folder in folder_paths.folder_names_and_paths and (path := folder_paths.get_full_path(folder, name)):
            return path
    expected = said("a file's name as ComfyUI lists it under {file_keys}", file_keys=" or ".join(FILE_KEYS[key]))
    raise ModelError(key, said("no file {name!r:.80} there", name=name), expected=expected, remedy="Check its name")
