"""The opening of a LoRA file in whichever container it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ...errors import LoraFileError
from .header import open_safetensors
from .pickles import open_pickle
from .tensorfile import TensorFile

#: Suffix -> what opens such a file, given its size in bytes.
OPENERS: Mapping[str, Callable[[Path, int], TensorFile]] = {
    ".safetensors": open_safetensors,
    ".sft": open_safetensors,
    ".pt": open_pickle,
    ".pth": open_pickle,
    ".bin": open_pickle,
    ".ckpt": open_pickle,
}


def open_tensor_file(path: str | Path) -> TensorFile:
    """Open a file of tensors; only its header is read (of a pickle, its index)."""
    path = Path(path)
    num_bytes = _size(path)
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        expected = f"one of {', '.join(OPENERS)}"
        raise LoraFileError(path, f"its suffix {path.suffix!r} is not that of a LoRA file", expected=expected)
    file = opener(path, num_bytes)
    if not file.infos:
        raise LoraFileError(path, "it holds no tensors", expected="a LoRA file", remedy="Choose another file")
    return file


def _size(path: Path) -> int:
    """Return the size of a file that is there and not empty."""
    try:
        num_bytes = os.stat(path).st_size
    except FileNotFoundError:
        raise LoraFileError(path, "there is no such file", remedy="Check the path and its spelling") from None
    except (OSError, ValueError) as error:
        raise LoraFileError(path, f"it cannot be read: {error}", remedy="Check the path") from error
    if path.is_dir():
        raise LoraFileError(path, "it is a folder", expected="a LoRA file", remedy="Choose the file inside it")
    if num_bytes == 0:
        raise LoraFileError(path, "it is empty (0 bytes)", expected="a LoRA file", remedy="Download or copy it again")
    return num_bytes
