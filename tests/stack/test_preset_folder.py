import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import OutputError, StackError
from lora_core.stack.preset_folder import PresetFolder
from lora_core.stack.stack import LoraStack

LEADING_OUT = ["../x", "a/../../x", "/etc/x", "//server/x", "C:/x", "C:x", "..\\x", "\\\\server\\x", "~/../x", "a/.."]
NOT_PLAIN = [
    "",
    " ",
    ".hidden",
    "a/.hidden",
    ".json",
    "a//b",
    "a/",
    "con",
    "NUL.txt",
    "Com1",
    "lpt¹",
    "a\nb",
    "a\0",
    "x?",
]
NOT_PLAIN += ["a ", " a", "a.", "a|b", "a\u202eb", "\ud800", "x" * 201, "ä" * 101]


@pytest.fixture
def folder(tmp_path):
    loras = tmp_path / "loras"
    loras.mkdir()
    (loras / "style.safetensors").write_bytes(b"style")
    return PresetFolder(tmp_path / "user" / "stacks", (loras,))


@pytest.fixture
def stack():
    return LoraStack().add("style.safetensors", 0.8)


@pytest.mark.parametrize("name", [*LEADING_OUT, *NOT_PLAIN])
def test_a_name_that_is_not_plain_is_refused_and_nothing_is_written(folder, stack, tmp_path, name):
    for use in (lambda: folder.save(name, stack), lambda: folder.open(name), lambda: folder.file(name)):
        with pytest.raises(StackError, match=r"^preset name .*a plain name such as 'my style'"):
            use()
    assert not folder.root.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loras"]


@given(st.text(string.printable + "ä漢/\\.:~"))
def test_no_name_leads_out_of_the_folder(name):
    folder = PresetFolder(Path("/nowhere/stacks"), ())
    try:
        file = folder.file(name)
    except StackError:
        return
    assert os.path.normpath(file) == str(file)
    assert file.is_relative_to(folder.root)
    assert file.suffix == ".json"


@pytest.mark.parametrize("name", ["style", "my style (2)", "trips/rome", "v1.2", "霓虹", "console"])
def test_what_was_saved_is_listed_and_read_back(folder, stack, name):
    file = folder.save(name, stack)
    assert file == folder.root.joinpath(f"{name}.json")
    assert folder.names() == [name]
    (entry,) = folder.open(name)
    assert (entry.path, entry.strength) == (folder.lora_folders[0] / "style.safetensors", 0.8)
    assert entry.sha256 is not None


def test_the_suffix_may_be_part_of_the_name(folder, stack):
    assert folder.save("style.json", stack) == folder.file("style")


def test_a_changed_lora_is_refused_unless_nobody_verifies(folder, stack):
    folder.save("style", stack)
    (folder.lora_folders[0] / "style.safetensors").write_bytes(b"another")
    with pytest.raises(StackError, match="a LoRA has changed"):
        folder.open("style")
    assert folder.open("style", verify=False)["style"].sha256 is None


def test_a_preset_that_is_not_there_names_the_nearest(folder, stack):
    with pytest.raises(StackError, match="none has been saved yet"):
        folder.open("style")
    folder.save("neon style", stack)
    with pytest.raises(StackError, match=r"preset 'neon stile': .*nearest: 'neon style'"):
        folder.open("neon stile")


def test_only_what_a_name_leads_to_is_listed(folder, stack):
    folder.save("a", stack)
    for other in (".a.tmp.json", "b.json.json", "notes.txt"):
        (folder.root / other).write_text("[]")
    (folder.root / "c.json").mkdir()
    assert folder.names() == ["a"]


def test_no_link_leads_out_of_the_folder(folder, stack, tmp_path):
    folder.save("a", stack)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.json").write_text("[]")
    (folder.root / "sub").symlink_to(outside, target_is_directory=True)
    (folder.root / "b.json").symlink_to(outside / "b.json")
    assert folder.names() == ["a"]
    for name in ("sub/b", "sub/new", "b"):
        with pytest.raises(StackError, match="a link in it leads out of the folder"):
            folder.save(name, stack)
    assert [path.name for path in outside.iterdir()] == ["b.json"]


def test_a_preset_cannot_lie_below_another(folder, stack):
    folder.save("a", stack)
    (folder.root / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        folder.save("file/b", stack)
