import json
import os
import unicodedata
from pathlib import Path

import pytest

from lora_core.errors import StackError
from lora_core.families.wan.pocket import pocket_lora, pocket_paths
from lora_core.stack.finding import find_lora, relative_to_folders
from lora_core.stack.row_files import with_found_files
from lora_core.stack.stack import LoraStack


@pytest.fixture
def folders(tmp_path):
    """Two LoRA folders, and a file outside both that every escape aims at."""
    for name in (
        "loras/wan/style.safetensors",
        "more/zibbo.safetensors",
        "more/style.safetensors",
        "secret.safetensors",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return [tmp_path / "loras", tmp_path / "more"]


def test_a_relative_path_is_found_in_the_first_folder_that_has_it(folders):
    assert find_lora("wan/style.safetensors", folders) == folders[0] / "wan/style.safetensors"
    assert find_lora("zibbo.safetensors", folders) == folders[1] / "zibbo.safetensors"


def test_backslashes_separate_folders(folders):
    assert find_lora("wan\\style.safetensors", folders) == folders[0] / "wan/style.safetensors"


def test_an_absolute_path_inside_a_folder_is_taken(folders):
    inside = folders[1] / "zibbo.safetensors"
    assert find_lora(inside, [str(folder) for folder in folders]) == inside


def test_a_detour_that_ends_inside_is_taken(folders):
    assert find_lora("wan/../wan/style.safetensors", folders) == folders[0] / "wan/style.safetensors"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.safetensors",
        "wan/../../secret.safetensors",
        "..\\secret.safetensors",
        "/etc/passwd",
        "C:\\x",
        "\\\\h\\x",
    ],
)
def test_a_path_that_leaves_the_folders_is_refused(folders, path):
    with pytest.raises(StackError, match=r"leaves the LoRA folders \(a path inside loras, more\)"):
        find_lora(path, folders)


def test_an_absolute_path_outside_is_refused(folders):
    with pytest.raises(StackError, match="leaves the LoRA folders"):
        find_lora(folders[0].parent / "secret.safetensors", folders)


def test_a_link_below_a_folder_counts_as_what_it_is_called_and_where_it_lies(folders):
    os.symlink(folders[0].parent / "secret.safetensors", folders[0] / "link.safetensors")
    os.symlink(folders[0].parent, folders[0] / "up")
    for path in ("link.safetensors", "up/secret.safetensors"):
        assert find_lora(path, folders) == folders[0] / path
        assert relative_to_folders(folders[0] / path, folders) == path
    with pytest.raises(StackError, match="leaves the LoRA folders"):
        find_lora("up/../../secret.safetensors", folders)


def test_a_folder_may_itself_be_a_link(folders, tmp_path):
    os.symlink(folders[0], tmp_path / "linked")
    linked = tmp_path / "linked"
    for path in ("wan/style.safetensors", linked / "wan/style.safetensors"):
        assert find_lora(path, [linked]) == linked / "wan/style.safetensors"
    assert find_lora(folders[0] / "wan/style.safetensors", [linked]) == folders[0] / "wan/style.safetensors"


def test_a_loop_of_links_is_refused(folders):
    os.symlink(folders[0] / "b", folders[0] / "a")
    os.symlink(folders[0] / "a", folders[0] / "b")
    with pytest.raises(StackError):
        find_lora("a", folders)


def test_a_missing_file_is_named_with_the_nearest_beside_it(folders):
    with pytest.raises(
        StackError, match=r"wan/stile\.safetensors: no such file in .*\(nearest: 'style\.safetensors'\)"
    ):
        find_lora("wan/stile.safetensors", folders)
    with pytest.raises(StackError, match="no such file"):
        find_lora("none/x.safetensors", folders)


@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
def test_a_path_that_names_nothing_is_refused(folders, path):
    with pytest.raises(StackError, match="names no file"):
        find_lora(path, folders)


def test_a_folder_or_an_endless_name_is_no_file(folders):
    with pytest.raises(StackError, match="wan: is a folder"):
        find_lora("wan", folders)
    for given in (folders, []):
        with pytest.raises(StackError):
            find_lora("x" * 5000, given)


def test_without_folders_a_path_is_taken_as_it_is(folders, monkeypatch):
    monkeypatch.chdir(folders[0])
    assert find_lora("../secret.safetensors") == folders[0].parent / "secret.safetensors"


def test_a_preset_stores_paths_relative_to_their_folder(folders):
    assert relative_to_folders(folders[0] / "wan/style.safetensors", folders) == "wan/style.safetensors"
    outside = folders[0].parent / "secret.safetensors"
    assert relative_to_folders(outside, folders) == outside.as_posix()


def test_the_nearest_name_is_looked_for_in_every_folder(folders, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "neon_style.safetensors").touch()
    with pytest.raises(StackError, match="nearest: 'neon_style"):
        find_lora("neon_stile.safetensors", [*folders, other])


def test_a_name_in_another_unicode_form_is_found(tmp_path):
    name = "Füße/stil_é.safetensors"
    on_disk = tmp_path / unicodedata.normalize("NFD", name)
    on_disk.parent.mkdir()
    on_disk.touch()
    given = unicodedata.normalize("NFC", name)
    assert given != on_disk.name
    assert find_lora(given, [tmp_path]) == on_disk
    assert find_lora(tmp_path / given) == on_disk


def test_a_tilde_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.pt").touch()
    assert find_lora("~/x.pt") == find_lora("~/x.pt", [tmp_path]) == tmp_path / "x.pt"
    (entry,) = LoraStack.from_json([{"path": "~/x.pt"}])
    assert with_found_files(entry, (), tmp_path / "stacks").path == tmp_path / "x.pt"


@pytest.mark.skipif(os.name == "nt", reason="there it is no other system's")
def test_a_drive_letter_is_not_glued_to_the_folder_of_the_stack(tmp_path):
    (entry,) = LoraStack.from_json([{"path": "D:\\loras\\x.safetensors"}])
    with pytest.raises(StackError, match=r"^D:\\loras\\x\.safetensors: is a path of another system, with a drive"):
        with_found_files(entry, (), tmp_path)


def test_a_row_that_is_off_may_name_a_file_that_is_gone(tmp_path):
    path = tmp_path / "stack.json"
    rows = [{"path": "gone.pt", "enabled": False, "sha256": "0" * 64}, {"path": "../out.pt", "enabled": False}]
    path.write_text(json.dumps(rows))
    stack = LoraStack.read_preset(path)
    assert [entry.path.as_posix() for entry in stack] == ["gone.pt", "../out.pt"]
    written = stack.write_preset(tmp_path / "again.json")
    assert [row["path"] for row in json.loads(written.read_text())] == ["gone.pt", "../out.pt"]
    assert LoraStack.from_json(rows).resolved([tmp_path]).entries[0].path == Path("gone.pt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_stack_file_is_read_in_any_unicode_encoding(tmp_path, encoding):
    (tmp_path / "é.pt").touch()
    path = tmp_path / "stack.json"
    path.write_bytes(json.dumps([{"path": "é.pt"}], ensure_ascii=False).encode(encoding))
    assert LoraStack.read_preset(path).entries[0].path == tmp_path / "é.pt"


def test_a_preset_of_links_stores_their_names_and_their_twins(tmp_path):
    loras = tmp_path / "loras"
    loras.mkdir()
    for expert, blob in (("high", "2f7a"), ("low", "9c1d")):
        (tmp_path / blob).write_bytes(blob.encode())
        (loras / f"char_{expert}.safetensors").symlink_to(tmp_path / blob)
    stack = LoraStack().add(loras / "char_high.safetensors", low_noise=loras / "char_low.safetensors")
    (row,) = json.loads(stack.write_preset(tmp_path / "p.json", [loras]).read_text())
    assert (row["path"], row["low_noise_path"]) == ("char_high.safetensors", "char_low.safetensors")


@pytest.mark.skipif(not pocket_paths().loras.is_dir(), reason="the pocket LoRAs are not built yet")
def test_an_embedded_lora_is_found_by_its_name_where_no_folders_are_given(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = pocket_lora("neon_style", "high_noise")
    assert find_lora("neon_style") == find_lora("neon_style", base=tmp_path / "more") == shipped
    with pytest.raises(StackError, match="no such file in"):
        find_lora("neon_style", folders)
    with pytest.raises(StackError, match=r"neon_styl: no such file in .* \(nearest: 'neon_style'\)"):
        find_lora("neon_styl")
    (tmp_path / "neon_style").write_bytes(b"")
    assert find_lora("neon_style") == tmp_path / "neon_style"


@pytest.mark.skipif(not pocket_paths().loras.is_dir(), reason="the pocket LoRAs are not built yet")
def test_a_stack_file_names_an_embedded_lora_as_the_shell_does(tmp_path):
    (tmp_path / "stack.json").write_text('[{"path": "neon_style"}, {"path": "neon_style", "weight": 0.5}]')
    stack = LoraStack.read_preset(tmp_path / "stack.json")
    assert [(row.name, row.path) for row in stack] == [
        ("neon_style", pocket_lora("neon_style", "high_noise")),
        ("neon_style 2", pocket_lora("neon_style", "high_noise")),
    ]
