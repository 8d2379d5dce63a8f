"""The files of a finished training among the host's own, where its lists and its loaders find them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import folder_paths

from ..lora_core import Expert, LoraStack
from ..lora_core.atomic import replacing_all
from ..lora_core.checkpoints.hashes import file_sha256
from ..lora_core.errors import OutputError

if TYPE_CHECKING:
    from ..lora_core.training.config import TrainConfig

#: The folder of ours inside the host's.
FOLDER = "trained"
_ENDS = ("_high_noise", "_low_noise", "")


def check_free(config: TrainConfig) -> None:
    """Raise where files of another training have the names that those of a new one will have."""
    for path in (_folder(config) / f"{config.name}{end}.safetensors" for end in _ENDS):
        if path.exists():
            _refuse(path)


def installed(name: str) -> list[Path]:
    """Return the files of a finished training that are among the host's own, whatever kind it was."""
    roots = [root for kind in ("loras", "diffusion_models") for root in folder_paths.get_folder_paths(kind)[:1]]
    paths = [Path(root) / FOLDER / f"{name.strip()}{end}.safetensors" for root in roots for end in _ENDS]
    return [path for path in paths if path.is_file()]


def install(files: Mapping[Expert, Path], config: TrainConfig) -> dict[Expert, str]:
    """Copy the files of a training into the host's first folder for their kind, all or none; return their names there.

    Files that are there already with the same bytes are left as they are; others are never replaced.
    """
    targets = {expert: _folder(config) / path.name for expert, path in files.items()}
    missing = {expert: target for expert, target in targets.items() if not target.exists()}
    for expert in targets.keys() - missing.keys():
        if file_sha256(targets[expert]) != file_sha256(files[expert]):
            _refuse(targets[expert])
    if missing:
        with replacing_all(tuple(missing.values())) as temporaries:
            for expert, temporary in zip(missing, temporaries, strict=True):
                shutil.copyfile(files[expert], temporary)
    return {expert: os.path.join(FOLDER, target.name) for expert, target in targets.items()}


def stack_of(names: Mapping[Expert, str], config: TrainConfig) -> LoraStack:
    """Return the stack of a trained LoRA: one row, of both files where there are two; empty of whole weights."""
    if not _is_lora(config):
        return LoraStack()
    first, *others = names.values()
    return LoraStack().add(first, low_noise=others[0] if others else None, name=config.name, find_twin=False)


def _is_lora(config: TrainConfig) -> bool:
    return config.adapter.method != "full" or config.watching.full_rank > 0


def _folder(config: TrainConfig) -> Path:
    kind = "loras" if _is_lora(config) else "diffusion_models"
    roots = folder_paths.get_folder_paths(kind)
    if not roots:
        raise OutputError(kind, "ComfyUI has no such folder", remedy="Make one, or name one in extra_model_paths.yaml")
    return Path(roots[0]) / FOLDER


def _refuse(path: Path) -> NoReturn:
    what = "is there already, from another training"
    raise OutputError(path, what, remedy="Choose another name, or remove the file")
