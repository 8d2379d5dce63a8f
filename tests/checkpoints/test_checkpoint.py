"""Checkpoints: what cannot be read as it lies there is refused, in one line and at once."""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_core.checkpoints.checkpoint import open_checkpoint, read_json_file
from lora_core.errors import ModelError


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_checkpoint(path)
    return str(caught.value).replace(str(path), "FILE")


def test_a_compressed_archive_is_refused_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "vae.pth"
    torch.save({"a": torch.ones(1000)}, path)
    assert open_checkpoint(path).shapes == {"a": (1000,)}
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert refusal(path) == (
        "FILE: its entries are compressed, first 'vae/data.pkl' (an archive as torch.save writes it). "
        "Save it again with torch.save, or as .safetensors."
    )


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls them a prototype
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "is not a plain dictionary of dense tensors"),
        ({"a": 1}, "is not a plain dictionary of dense tensors"),
        ({"a": nested()}, "is not a plain dictionary of dense tensors"),
        ({1: torch.ones(1)}, "has a key that is no tensor's name"),
        ({"a": torch.ones([1] * 9)}, "tensor 'a' has 9 dimensions (at most 8)"),
        ({"a" * 1001: torch.ones(1)}, "a tensor's name has 1,001 letters"),
    ],
)
def test_a_pickle_of_anything_but_tensors_by_name_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    assert refusal(tmp_path / "x.pt").startswith(f"FILE: {said}")


def test_a_header_of_very_many_tensors_is_refused(tmp_path: Path) -> None:
    header = {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_001)}
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert refusal(tmp_path / "x.safetensors").startswith("FILE: it lists 50,001 tensors (at most 50,000)")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "1" * 5000])
def test_json_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json: (cannot be read as JSON|holds a)"):
        read_json_file(tmp_path / "config.json")
