"""The header of a safetensors file, checked here before the safetensors library opens the file.

So a damaged file is named as what it is. The tensors themselves are memory-mapped by the library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...checkpoints.limits import too_large, too_many
from ...errors import LoraFileError
from ...wording import said
from .tensorfile import TensorFile, TensorInfo

#: The largest header the safetensors library accepts (100 MB).
MAX_HEADER_BYTES = 100_000_000

#: dtype in a safetensors header -> torch's. What torch cannot hold (F4, F6) cannot be read.
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

#: First bytes of files that people take for a LoRA -> what they are.
_MISTAKEN: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself"),
    (b"<!DOCTYPE", "it is a web page, not a LoRA file"),
    (b"<!doctype", "it is a web page, not a LoRA file"),
    (b"<html", "it is a web page, not a LoRA file"),
    (b"GGUF", "it is a GGUF checkpoint, not a LoRA file"),
    (b"PK\x03\x04", "it is a PyTorch or zip file under the name of a safetensors file"),
    (b"\x80\x02", "it is a Python pickle under the name of a safetensors file"),
)

#: No size and no offset in a real file comes near this.
_MAX_SIZE = 2**48

_DAMAGED = "Download or copy the file again"


def open_safetensors(path: Path, num_bytes: int) -> TensorFile:
    """Open a safetensors file whose header has been found sound."""
    header, data_start = _read_header(path, num_bytes)
    metadata = _check_metadata(path, header.pop("__metadata__", None))
    if (found := too_many(len(header))) is not None:
        raise LoraFileError(path, found[0], expected=found[1], remedy=_DAMAGED)
    entries = {name: _check_entry(path, name, entry) for name, entry in header.items()}
    _check_spans(path, entries, num_bytes - data_start)
    infos = {name: entry.info for name, entry in entries.items()}
    begins = {name: data_start + entry.begin for name, entry in entries.items()}
    return TensorFile(path, infos, metadata, num_bytes, _Reader(path), partial(_read_numbers, path, infos, begins))


class _Entry(NamedTuple):
    """One tensor of a header: what it is, its first byte in the data and the byte after its last."""

    info: TensorInfo
    begin: int
    end: int


class _Reader:
    """The tensors of one safetensors file, which is opened at the first of them and then kept mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __call__(self, name: str) -> Tensor:
        try:
            if self._file is None:
                self._file = safe_open(self._path, framework="pt", device="cpu")
            return self._file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError, ValueError) as error:
            raise LoraFileError(
                self._path, said("tensor {name!r} cannot be read: {error}", name=name, error=error), remedy=_DAMAGED
            ) from error


def _read_numbers(
    path: Path, infos: Mapping[str, TensorInfo], begins: Mapping[str, int], names: Iterable[str]
) -> dict[str, float]:
    """Return the values of tensors of one element; a mapping of each would cost more than all of them together."""
    numbers = {}
    with open(path, "rb") as file:
        for name in names:
            file.seek(begins[name])
            raw = bytearray(file.read(infos[name].num_bytes))
            numbers[name] = torch.frombuffer(raw, dtype=infos[name].dtype).double().item()
    return numbers


def _read_header(path: Path, num_bytes: int) -> tuple[dict[str, Any], int]:
    """Return (the header, where the data begin): 8 bytes of header size, the header in JSON, then the data."""
    try:
        with open(path, "rb") as file:
            start = file.read(64)
            _refuse_mistaken(path, start)
            if num_bytes < 8:
                raise LoraFileError(
                    path,
                    said("it has only {num_bytes} bytes", num_bytes=num_bytes),
                    expected="at least 8",
                    remedy=_DAMAGED,
                )
            header_bytes = int.from_bytes(start[:8], "little")
            if header_bytes > min(num_bytes - 8, MAX_HEADER_BYTES):
                what = said(
                    "its header claims {header_bytes:,} bytes and the file has {num_bytes:,}",
                    header_bytes=header_bytes,
                    num_bytes=num_bytes,
                )
                raise LoraFileError(path, what, expected="a safetensors file", remedy=_DAMAGED)
            file.seek(8)
            text = file.read(header_bytes)
    except OSError as error:
        raise LoraFileError(
            path, said("it cannot be read: {error}", error=error.strerror), remedy="Check its permissions"
        ) from error
    return _parse(path, text), 8 + header_bytes


def _refuse_mistaken(path: Path, start: bytes) -> None:
    if start[8:9] == b"{":  # a header of 640 bytes has a size that begins as a pickle does
        return
    for sign, what in _MISTAKEN:
        if start.startswith(sign):
            raise LoraFileError(path, what, expected="a safetensors file", remedy="Download the real file")


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise ValueError("a name stands twice in it")
        return table

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise LoraFileError(path, said("its header is not readable: {error}", error=error), remedy=_DAMAGED) from error
    if not isinstance(header, dict):
        raise LoraFileError(path, "its header is not a table of tensors", remedy=_DAMAGED)
    return header


def _check_spans(path: Path, entries: Mapping[str, _Entry], data_bytes: int) -> None:
    """Refuse tensors that do not fill the data exactly, none overlapping, none outside."""
    position = 0
    for begin, end, name in sorted((entry.begin, entry.end, name) for name, entry in entries.items()):
        if begin != position:
            what = said("tensor {name!r} begins at byte {begin:,} of the data", name=name, begin=begin)
            raise LoraFileError(
                path,
                what,
                expected=said("{position:,}, where the one before it ends", position=position),
                remedy=_DAMAGED,
            )
        position = end
    if position > data_bytes:
        what = said(
            "it is cut off: its header promises {position:,} bytes of tensors and {data_bytes:,} are there",
            position=position,
            data_bytes=data_bytes,
        )
        raise LoraFileError(path, what, remedy=_DAMAGED)
    if position < data_bytes:
        what = said("{data_bytes:,} bytes follow its last tensor", data_bytes=data_bytes - position)
        raise LoraFileError(path, what, expected="none", remedy=_DAMAGED)


def _check_metadata(path: Path, metadata: Any) -> dict[str, str]:
    """Return the metadata, none where they are null, as the safetensors library reads them."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        what = said("its metadata is {text:.60}", text=json.dumps(metadata))
        raise LoraFileError(path, what, expected="a table of texts", remedy=_DAMAGED)
    for key, value in metadata.items():
        if not isinstance(value, str):
            what = said("its metadata {key!r:.60} is {text:.60}", key=key, text=json.dumps(value))
            raise LoraFileError(path, what, expected="a text", remedy="Write the file again with texts alone")
    return metadata


def _check_entry(path: Path, name: str, entry: Any) -> _Entry:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        known = DTYPES.get(dtype)
    except (KeyError, TypeError, ValueError):
        expected = "dtype, shape and two data_offsets"
        what = said("the header entry of {name!r} is malformed: {entry!r:.80}", name=name, entry=entry)
        raise LoraFileError(path, what, expected=expected, remedy=_DAMAGED) from None
    if isinstance(shape, list) and (found := too_large(name, shape)) is not None:
        raise LoraFileError(path, found[0], expected=found[1], remedy=_DAMAGED)
    if known is None:
        expected = said("one of {names}", names=", ".join(DTYPES))
        raise LoraFileError(
            path,
            said("tensor {name!r} has the unknown dtype {dtype!r:.40}", name=name, dtype=dtype),
            expected=expected,
            remedy="Write the file again in one of them",
        )
    sizes = (*shape, begin, end) if isinstance(shape, list) else (None,)
    if set(map(type, sizes)) != {int} or min(sizes) < 0 or max(sizes) >= _MAX_SIZE:
        what = said(
            "tensor {name!r} has shape {shape!r:.60} and offsets {begin!r:.30}, {end!r:.30}",
            name=name,
            shape=shape,
            begin=begin,
            end=end,
        )
        raise LoraFileError(path, what, expected="whole numbers, not negative", remedy=_DAMAGED)
    info = TensorInfo(tuple(shape), known)
    if end - begin != info.num_bytes:
        what = said(
            "tensor {name!r} of shape {shape} and dtype {dtype} is given {count:,} bytes",
            name=name,
            shape=shape,
            dtype=dtype,
            count=end - begin,
        )
        raise LoraFileError(path, what, expected=f"{info.num_bytes:,}", remedy=_DAMAGED)
    return _Entry(info, begin, end)
