"""The opening of a LoRA file in whichever container it comes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...checkpoints.distributed import refusal_of
from ...errors import LoraFileError
from ...wording import said

if TYPE_CHECKING:
    from .tensorfile import TensorFile

#: Suffix of a LoRA file -> the container that it is.
CONTAINERS: Mapping[str, Literal["safetensors", "pickle"]] = {
    ".safetensors": "safetensors",
    ".sft": "safetensors",
    ".pt": "pickle",
    ".pth": "pickle",
    ".bin": "pickle",
    ".ckpt": "pickle",
}


def open_tensor_file(path: str | Path) -> TensorFile:
    """Open a file of tensors; only its header is read (of a pickle, its index)."""
    from .header import open_safetensors  # a host or a page of help asks for the suffixes alone
    from .pickles import open_pickle

    openers = {"safetensors": open_safetensors, "pickle": open_pickle}
    path = Path(path)
    if (refused := refusal_of(path)) is not None:
        raise LoraFileError(path, refused.what, expected=refused.expected, remedy=refused.remedy)
    num_bytes = _size(path)
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        expected = said("one of {names}", names=", ".join(CONTAINERS))
        raise LoraFileError(
            path,
            said("its suffix {suffix!r} is not that of a LoRA file", suffix=path.suffix),
            expected=expected,
            remedy="Choose a LoRA file",
        )
    file = openers[container](path, num_bytes)
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
        raise LoraFileError(path, said("it cannot be read: {error}", error=error), remedy="Check the path") from error
    if path.is_dir():
        raise LoraFileError(path, "it is a folder", expected="a LoRA file", remedy="Choose the file inside it")
    if num_bytes == 0:
        raise LoraFileError(path, "it is empty (0 bytes)", expected="a LoRA file", remedy="Download or copy it again")
    return num_bytes
