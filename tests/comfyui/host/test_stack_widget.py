"""The widget of a stack: the list of files and pairs that the page takes from it."""

from collections.abc import Iterator
from pathlib import Path

import folder_paths
import pytest
from wanloom.nodes import widgets
from wanloom.nodes.stack import ApplyLoraStack


@pytest.fixture
def pair() -> Iterator[Path]:
    folder = Path(folder_paths.get_folder_paths("loras")[0]) / "listed"
    folder.mkdir()
    files = [folder / f"glow_{expert}.safetensors" for expert in ("high", "low")]
    for file in files:
        file.touch()
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_a_new_file_is_in_the_list_at_once_and_pairs_are_looked_for_only_then(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(files: tuple[str, ...]) -> dict[str, str]:
        asked.append(files)
        return pairs_among(files)

    pairs_among = widgets.pairs_among
    monkeypatch.setattr(widgets, "pairs_among", counted)
    widgets._twins_among.cache_clear()
    for _ in range(3):
        _, told = ApplyLoraStack.INPUT_TYPES()["required"]["loras"]
    assert told["twins"]["listed/glow_high.safetensors"] == "listed/glow_low.safetensors"
    assert len(asked) == 1
    (pair / "glow_low.safetensors").unlink()
    _, told = ApplyLoraStack.INPUT_TYPES()["required"]["loras"]
    assert "listed/glow_low.safetensors" not in told["lora_files"]
    assert "listed/glow_high.safetensors" not in told["twins"]
