"""A checkpoint on disk: the names, shapes and metadata of its tensors at once, the tensors themselves when asked.

Dtype policy: tensors come as they are stored; safetensors and `.pth` stay memory-mapped until somebody converts them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import first_line
from ..errors import ModelError
from ..wording import said
from .archive import archive_fault, is_archive
from .distributed import refusal_of
from .limits import excess_of
from .pickled import is_extra_state, load_pickled
from .wrapped import refuse_wrapped

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
PICKLE_SUFFIXES = (".pth", ".pt", ".bin")
GGUF_SUFFIXES = (".gguf",)
CHECKPOINT_SUFFIXES = SAFETENSORS_SUFFIXES + PICKLE_SUFFIXES + GGUF_SUFFIXES

#: What a diffusers or transformers folder keeps its weights in, sharded first.
_FOLDER_WEIGHTS = (
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)


#: The entries of a GGUF header that play the part of safetensors' metadata.
_GGUF_TEXTS = ("config",)


@dataclass(frozen=True)
class Checkpoint:
    """What the headers of one checkpoint's files say.

    Attributes:
        path: the file or folder as the user named it.
        files: the files that carry tensors; more than one when sharded.
        shapes: tensor name -> shape; for GGUF the shape of the unpacked tensor.
    """

    path: Path
    files: tuple[Path, ...]
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def is_gguf(self) -> bool:
        return self.files[0].suffix in GGUF_SUFFIXES

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor, memory-mapped where the format allows."""
        loaded: dict[str, Tensor] = {}
        for file in self.files:
            loaded.update(_read_tensors(file))
        return loaded


def open_checkpoint(path: Path) -> Checkpoint:
    """Read the headers of a single file, or of the weights inside a component's folder."""
    files = _weight_files(path)
    shapes: dict[str, tuple[int, ...]] = {}
    metadata: dict[str, str] = {}
    for file in files:
        file_shapes, file_metadata = _read_header(file)
        shapes.update(file_shapes)
        metadata.update(file_metadata)
    if not shapes:
        raise ModelError(path, "holds no tensors", remedy="Choose another file")
    if (found := excess_of(shapes)) is not None:
        raise ModelError(path, found[0], expected=found[1], remedy="Download it again")
    refuse_wrapped(path, shapes)
    return Checkpoint(path, files, shapes, metadata)


def read_json_file(path: Path) -> dict[str, object]:
    """Return the object a JSON file holds."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            path, said("cannot be read as JSON: {error}", error=error), remedy="Download it again"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            path,
            said("holds a {kind}", kind=type(content).__name__),
            expected="a JSON object",
            remedy="Download it again",
        )
    return content


def _weight_files(path: Path) -> tuple[Path, ...]:
    if (refused := refusal_of(path)) is not None:
        raise ModelError(path, refused.what, expected=refused.expected, remedy=refused.remedy)
    if path.is_file():
        if path.suffix not in CHECKPOINT_SUFFIXES:
            raise ModelError(
                path,
                said("unknown kind of file {suffix!r}", suffix=path.suffix),
                expected=", ".join(CHECKPOINT_SUFFIXES),
                remedy="Choose another file",
            )
        return (path,)
    if not path.is_dir():
        raise ModelError(path, "no such file or folder", remedy="Check the path")
    for name in _FOLDER_WEIGHTS:
        if (path / name).is_file():
            return _shards(path / name) if name.endswith(".json") else (path / name,)
    raise ModelError(
        path,
        "the folder holds no weights",
        expected=said(
            "{first} or {second}",
            first=_FOLDER_WEIGHTS[1],
            second=_FOLDER_WEIGHTS[3],
        ),
        remedy="Put them there, or name a file",
    )


def _shards(index: Path) -> tuple[Path, ...]:
    names = read_json_file(index).get("weight_map")
    if not isinstance(names, dict):
        raise ModelError(index, "has no weight_map", remedy="Download it again")
    files = tuple(index.parent / name for name in sorted(set(names.values())))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(
            index.parent,
            said(
                "{count} of {all} shards are missing, first {first!r}",
                count=len(missing),
                all=len(files),
                first=missing[0],
            ),
            remedy="Download the missing ones",
        )
    return files


def _read_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    if file.suffix in SAFETENSORS_SUFFIXES:
        return _read_safetensors_header(file)
    if file.suffix in GGUF_SUFFIXES:
        return _read_gguf_header(file)
    return {name: tuple(tensor.shape) for name, tensor in _read_pickle(file).items()}, {}


def _read_safetensors_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:  # unlike torch's, this mapping claims no memory
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118  # no dict
            return shapes, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            file, said("damaged or no safetensors file: {error}", error=error), remedy="Download it again"
        ) from error


def _read_gguf_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    try:
        from gguf import GGUFReader
    except ImportError:
        remedy = "Run `pip install 'wanloom[gguf]'`"
        raise ModelError(file, "GGUF files need the package gguf", remedy=remedy) from None
    try:
        reader = GGUFReader(file)
        # ggml counts axes from the fastest, torch from the slowest.
        shapes = {tensor.name: tuple(int(n) for n in reversed(tensor.shape)) for tensor in reader.tensors}
        texts = {name: reader.fields[name].contents() for name in _GGUF_TEXTS if name in reader.fields}
        return shapes, {name: str(text) for name, text in texts.items()}
    except Exception as error:  # the reader trusts its file: a damaged one raises whatever comes of it
        what = said("damaged or no GGUF file: {error}", error=first_line(error))
        raise ModelError(file, what, remedy="Download it again") from error


def _read_tensors(file: Path) -> dict[str, Tensor]:
    if file.suffix in PICKLE_SUFFIXES:
        return _read_pickle(file)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            file, said("damaged or no safetensors file: {error}", error=error), remedy="Download it again"
        ) from error
    except RuntimeError as error:  # torch's own, when the system grants no mapping of this size
        gigabytes = f"{file.stat().st_size / 1e9:.1f} GB"
        remedy = "Add memory or swap, or use an 8-bit or GGUF file"
        raise ModelError(
            file,
            said("its {gigabytes} cannot be mapped: {error}", gigabytes=gigabytes, error=first_line(error)),
            remedy=remedy,
        ) from error


def _read_pickle(file: Path) -> dict[str, Tensor]:
    import torch

    if is_archive(file) and (fault := archive_fault(file)):
        expected, remedy = "an archive as torch.save writes it", "Save it again with torch.save, or as .safetensors"
        raise ModelError(file, fault, expected=expected, remedy=remedy)
    try:
        state = load_pickled(file)
    except Exception as error:  # torch raises half a dozen kinds for a damaged or unsafe pickle
        raise ModelError(
            file,
            said("no safe PyTorch file of tensors: {error}", error=first_line(error)),
            remedy="Choose a safetensors file",
        ) from error
    plain = (torch.Tensor, torch.nn.Parameter)
    if isinstance(state, dict):
        state = {name: value for name, value in state.items() if not is_extra_state(name)}
    if not isinstance(state, dict) or not all(type(t) in plain and not t.is_nested for t in state.values()):
        raise ModelError(file, "is not a plain dictionary of dense tensors", remedy="Choose a safetensors file")
    if not all(isinstance(name, str) for name in state):
        raise ModelError(file, "has a key that is no tensor's name", remedy="Choose a safetensors file")
    return state
