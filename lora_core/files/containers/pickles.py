"""A pickled LoRA file (`.pt`, `.pth`, `.bin`, `.ckpt`), of which only tensors are ever unpickled."""

from __future__ import annotations

import contextlib
import math
import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ...checkpoints.archive import archive_fault, is_archive
from ...checkpoints.limits import too_large, too_many
from ...checkpoints.pickled import is_extra_state, load_pickled
from ...errors import LoraFileError
from ...wording import said
from .tensorfile import TensorFile, TensorInfo

#: Keys under which trainers put the table of tensors.
_WRAPPERS = ("state_dict", "lora_state_dict", "module", "model", "lora", "weights")

#: Beyond what any float holds.
_TOO_LARGE = 2**1023

#: How torch names what it refused to import.
_FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")

_DAMAGED = "Download or copy the file again"

#: How much of a pickle is searched for the name of what it calls.
_MAX_SEARCHED_BYTES = 2**20


def open_pickle(path: Path, num_bytes: int) -> TensorFile:
    """Open a pickle of tensors with torch's `weights_only` loader; nothing in it is ever run."""
    table = _unwrap(path, _load(path))
    if (found := too_many(len(table))) is not None:
        raise LoraFileError(path, found[0], expected=found[1], remedy=_DAMAGED)
    tensors, metadata = {}, {}
    for name, value in table.items():
        if not isinstance(name, str):
            raise LoraFileError(
                path,
                said("it has a key that is not a text: {name!r:.60}", name=name),
                expected="tensor names",
                remedy="Choose a LoRA file",
            )
        if is_extra_state(name) and not isinstance(value, Tensor):
            value = torch.empty(0, dtype=torch.uint8)  # for the account, which counts it
        if isinstance(value, (int, float)) and name.endswith(".alpha"):
            value = torch.tensor(math.inf if abs(value) >= _TOO_LARGE else value)
        if isinstance(value, Tensor):
            tensors[name] = _plain(path, name, value)
        elif isinstance(value, (str, int, float, bool)):
            metadata[name] = str(value)
        else:
            what = said("{name!r} holds a {kind}", name=name, kind=type(value).__name__)
            raise LoraFileError(
                path, what, expected="tensors by name, as a LoRA file has them", remedy="Choose a LoRA file"
            )
    infos = {name: TensorInfo(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    return TensorFile(
        path,
        infos,
        metadata,
        num_bytes,
        tensors.__getitem__,
        lambda names: {name: tensors[name].double().item() for name in names},
    )


def _load(path: Path) -> Any:
    is_zip = is_archive(path)
    if is_zip and (fault := archive_fault(path)):
        expected, remedy = "an archive as torch.save writes it", "Save it again with torch.save, or as .safetensors"
        raise LoraFileError(path, fault, expected=expected, remedy=remedy)
    try:
        return load_pickled(path, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
        reason = str(error).partition("\n")[0][:120]
        what = said("it is not a readable PyTorch file: {reason}", reason=reason or type(error).__name__)
        raise LoraFileError(path, what, remedy=_DAMAGED) from error


def _refusal(path: Path, message: str) -> LoraFileError:
    found = _FORBIDDEN.search(message)
    called = found[1] if found else _first_import(path)
    if not called:
        what = "it is not a readable PyTorch file: its pickle is damaged or of an unknown kind"
        return LoraFileError(path, what, remedy=_DAMAGED)
    what = said("its pickle holds code, not only tensors: it calls {called}", called=called)
    remedy = "Do not load it elsewhere; get the LoRA as .safetensors"
    return LoraFileError(path, what, expected="tensors, numbers and texts", remedy=remedy)


def _first_import(path: Path) -> str:
    """Return what a pickle of a newer protocol, which torch gives up on at once, would import first; or ""."""
    with open(path, "rb") as file:
        data = file.read(_MAX_SEARCHED_BYTES)
    texts: list[str] = []
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if opcode.name == "STACK_GLOBAL":
                return ".".join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    return ""


def _unwrap(path: Path, table: Any) -> Mapping[Any, Any]:
    """Return the table of tensors, taken out of the tables that trainers put around it."""
    for _ in range(3):
        if not isinstance(table, Mapping):
            what = said("it holds a {kind}", kind=type(table).__name__)
            raise LoraFileError(path, what, expected="a table of tensors by name", remedy="Choose a LoRA file")
        inner = next((table[key] for key in _WRAPPERS if isinstance(table.get(key), Mapping)), None)
        if inner is None:
            break
        table = inner
    return table


def _plain(path: Path, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor that is dense and owns the values it claims to have."""
    if type(tensor) not in (Tensor, Parameter) or tensor.is_nested:
        what = said(
            "tensor {name!r} is a {kind}",
            name=name,
            kind="nested tensor" if tensor.is_nested else type(tensor).__name__,
        )
        raise LoraFileError(path, what, expected="plain dense tensors", remedy="Write the file again as .safetensors")
    if (found := too_large(name, tensor.shape)) is not None:
        raise LoraFileError(path, found[0], expected=found[1], remedy=_DAMAGED)
    tensor = tensor.detach()
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        what = said(
            "tensor {name!r} is stored as {layout}, {dtype} on {device}",
            name=name,
            layout=tensor.layout,
            dtype=tensor.dtype,
            device=tensor.device,
        )
        raise LoraFileError(path, what, expected="plain dense tensors", remedy="Write the file again as .safetensors")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise LoraFileError(
            path, said("tensor {name!r} claims more values than are stored", name=name), remedy="Do not use this file"
        )
    return tensor
