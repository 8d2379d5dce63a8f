import os
import signal
import stat
import subprocess
import sys

import pytest

from lora_core.atomic import check_target, replacing, replacing_all, replacing_folder, write_text
from lora_core.errors import OutputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_file_takes_its_place(tmp_path):
    target = tmp_path / "stack.json"
    target.write_text("old")
    with replacing(target) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["stack.json"]


def write_half(target, error):
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("any")])
def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "stack.json"
    target.write_text("old")
    with pytest.raises(type(error)):
        write_half(target, error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["stack.json"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match=r"stack.json: cannot be written: .*No space left"):
        write_half(tmp_path / "stack.json", OSError(28, "No space left on device"))
    assert names(tmp_path) == []


def test_a_folder_that_is_missing_is_made_and_one_in_the_way_is_told(tmp_path):
    with replacing(tmp_path / "new" / "deep" / "a.json") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "new" / "deep" / "a.json").read_text() == "x"
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(OutputError, match="a folder has this name"), replacing(tmp_path / "folder.json"):
        pass
    assert names(tmp_path) == ["folder.json", "new"]


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for number, kept in enumerate(("old", None)):
        real, link = tmp_path / "elsewhere" / f"{number}.json", tmp_path / f"link{number}.json"
        if kept:
            real.write_text(kept)
        link.symlink_to(real)
        with replacing(link) as temporary:
            temporary.write_text("new")
        assert link.is_symlink()
        assert real.read_text() == "new"


def test_what_is_no_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    for path, said in (
        ("/dev/full", "/dev/full: a device has this name (a file, or a new name). Choose another."),
        ("/dev/null", "a device has this name"),
        (tmp_path / "pipe", "a pipe has this name"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
        (tmp_path / "file" / "a.json", f"{tmp_path / 'file'} is a file (a folder to write into)"),
        (tmp_path / ("x" * 300), "a name of 300 bytes (at most 255). Shorten it."),
        (tmp_path / ("x" * 300) / "a.json", "a name of 300 bytes"),
        ("a\0b.json", "null byte"),
    ):
        for act in (check_target, lambda p: replacing(p).__enter__()):
            with pytest.raises(OutputError) as error:
                act(path)
            assert said in str(error.value)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_file_keeps_its_permissions_and_a_new_one_has_the_usual(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "new.json"):
        pass
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new.json").chmod(0o600)
    with replacing(tmp_path / "new.json"):
        pass
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o600


def test_a_file_that_a_library_made_for_its_owner_alone_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()

    def write(temporary):
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))

    with replacing(tmp_path / "one") as temporary:
        write(temporary)
    with replacing_all([tmp_path / "two", tmp_path / "three"]) as temporaries:
        for temporary in temporaries:
            write(temporary)
    usual = (tmp_path / "plain").stat().st_mode
    assert {(tmp_path / name).stat().st_mode for name in ("one", "two", "three")} == {usual}


def test_a_folder_one_may_not_write_into_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(OutputError, match="may not write into"):
        check_target(tmp_path / "new" / "a.json")


KILLED = """
import os, signal, sys
from lora_core.atomic import replacing, replacing_folder
with replacing_folder(sys.argv[1] + "/frames", lambda: None) as new, replacing(sys.argv[1] + "/a.bin") as temporary:
    new.mkdir()
    (new / "frame_00000.png").touch()
    temporary.write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_goes_at_the_next_and_what_a_living_one_holds_stays(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path]).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    (tmp_path / ".mine.wanloom-notes").touch()
    with replacing(tmp_path / "b.json") as living:
        assert names(tmp_path) == sorted([".mine.wanloom-notes", living.parent.name])
        with replacing(tmp_path / "c.json"):
            assert living.exists()
    assert names(tmp_path) == [".mine.wanloom-notes", "b.json", "c.json"]


def test_a_folder_is_put_back_when_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "old").touch()
    with pytest.raises(OutputError), replacing_folder(tmp_path / "frames", lambda: None):
        pass  # nothing is made, so there is nothing to put there
    assert names(tmp_path / "frames") == ["old"]
    assert names(tmp_path) == ["frames"]


def test_text_goes_to_a_file_or_to_the_standard_output(tmp_path, capsys):
    write_text("{}", tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "{}"
    for name in ("-", "/dev/stdout"):
        write_text("{}\n", name)
        assert capsys.readouterr().out == "{}\n"


def test_files_that_belong_together_take_their_places_together(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("old")
    with replacing_all([first, second]) as new:
        for file in new:
            file.write_text(f"new {file.name}")
        assert (first.read_text(), second.exists()) == ("old", False)
    assert (first.read_text(), second.read_text()) == ("new a.txt", "new b.txt")
    assert names(tmp_path) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("before", ["old", None])
def test_where_the_last_cannot_take_its_place_the_others_give_theirs_back(tmp_path, before):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    if before is not None:
        first.write_text(before)

    def write_all():
        with replacing_all([first, second]) as new:
            for file in new:
                file.write_text("new")
            (second / "in the way").mkdir(parents=True)  # after the look at what is there

    with pytest.raises(OutputError, match="cannot be written"):
        write_all()
    assert (first.read_text() if first.exists() else None) == before
    assert second.is_dir()
    assert names(tmp_path) == (["a.txt", "b.txt"] if before else ["b.txt"])
