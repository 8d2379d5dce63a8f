import pytest

from lora_core.atomic import replacing
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


def test_a_folder_that_is_missing_or_in_the_way_is_told(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / "none" / "a.json"):
        pass
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / "folder.json"):
        pass
    assert names(tmp_path) == ["folder.json"]
