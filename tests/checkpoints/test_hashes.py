"""The hashes of a model's files: right, computed once, and without a word where nothing can be kept."""

import hashlib
import os
from pathlib import Path

import pytest

from lora_core.checkpoints import hashes
from lora_core.checkpoints.hashes import cache_file, hashes_of
from lora_core.errors import ModelError


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep hashes in a fresh folder; return the names of the files that are read to be hashed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names, compute = [], hashes.file_sha256
    monkeypatch.setattr(hashes, "file_sha256", lambda file: names.append(file.name) or compute(file))
    return names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "model.safetensors"


def test_a_file_is_read_once_until_it_changes(file: Path, hashed: list[str]) -> None:
    expected = hashlib.sha256(b"weights").hexdigest()
    assert hashes_of({"high": file, "low": file}) == {"high": expected, "low": expected}
    assert hashes_of({"high": file})["high"] == expected
    assert hashed == ["model.safetensors"]
    file.write_bytes(b"changed")
    os.utime(file, ns=(1, 1))
    assert hashes_of({"high": file})["high"] == hashlib.sha256(b"changed").hexdigest()
    assert len(hashed) == 2


def test_a_folder_has_a_hash_of_its_files_and_their_names(tmp_path: Path, hashed: list[str]) -> None:
    folders = [tmp_path / name for name in ("one", "same", "renamed", "changed")]
    for folder in folders:
        (folder / "shards").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        name = "b" if folder.name == "renamed" else "a"
        (folder / "shards" / name).write_text("other" if folder.name == "changed" else "same")
    found = hashes_of({folder.name: folder for folder in folders})
    assert found["one"] == found["same"]
    assert len(set(found.values())) == 3


@pytest.mark.parametrize("damage", ["", "[]", '{"a": 1}', '{"a": [1, 2]}', "\0"])
def test_a_damaged_cache_is_as_good_as_none(file: Path, hashed: list[str], damage: str) -> None:
    cache_file().parent.mkdir(parents=True)
    cache_file().write_text(damage)
    assert hashes_of({"high": file})["high"] == hashlib.sha256(b"weights").hexdigest()
    hashes_of({"high": file})
    assert hashed == ["model.safetensors"]


def test_where_nothing_can_be_kept_hashes_are_computed_again(file: Path, hashed: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert hashes_of({"high": file}) == hashes_of({"high": file})
    assert len(hashed) == 2


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashes, "file_sha256", fail)
    (tmp_path / "a").write_text("a")
    with pytest.raises(ModelError) as error:
        hashes_of({"vae": tmp_path / "a"})
    assert str(error.value) == f"{tmp_path / 'a'}: cannot be read: Permission denied. Check its permissions."
