"""The kind of network in a GGUF: told from its first entry, and an encoder is no refiner."""

import struct
from pathlib import Path

import pytest

from lora_core.errors import ModelError
from lora_core.refiner.gguf_kind import kind_in_gguf
from lora_core.refiner.sources import find_language_source


def gguf(file: Path, kind: bytes, key: bytes = b"general.architecture") -> Path:
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(kind)) + kind
    file.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + entry)
    return file


def test_the_architecture_is_read_from_the_first_entry(tmp_path: Path) -> None:
    assert kind_in_gguf(gguf(tmp_path / "a.gguf", b"llama")) == "llama"
    assert kind_in_gguf(gguf(tmp_path / "b.gguf", b"llama", b"general.name")) == ""


@pytest.mark.parametrize("content", [b"", b"GGUF", b"<!doctype html>" + b" " * 99])
def test_what_is_no_gguf_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "no.gguf").write_bytes(content)
    assert kind_in_gguf(tmp_path / "no.gguf") is None
    with pytest.raises(ModelError, match=r"no\.gguf: it does not begin as a GGUF"):
        find_language_source(tmp_path / "no.gguf")


def test_a_cut_header_has_no_kind(tmp_path: Path) -> None:
    whole = gguf(tmp_path / "a.gguf", b"llama").read_bytes()
    for length in range(32, len(whole) - len(b"llama")):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        assert kind_in_gguf(tmp_path / "cut.gguf") == ""


def test_an_encoder_is_no_refiner(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it holds t5encoder, which does not go on with a text"):
        find_language_source(gguf(tmp_path / "umt5.gguf", b"t5encoder"))
