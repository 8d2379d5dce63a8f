"""The README: what a newcomer pastes runs as it stands, in an empty folder."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from lora_core.cli.main import cli
from lora_core.families.wan.pocket import pocket_paths

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not pocket_paths().loras.is_dir(), reason="the pocket LoRAs are not built yet")


#: What the first steps leave: presets, plots, videos, and a folder of frames.
FIRST_STEPS = {
    "my_stack.json",
    "plan.png",
    "zibbo.mp4",
    "zibbo.json",
    "halves.mp4",
    "cross",
    "from_picture.mp4",
    "goes_on.mp4",
    "goes_on.mp4.json",
}


def block(heading: str, language: str) -> str:
    """Return the first block of code in that language under a heading."""
    found = re.search(rf"^## {heading}\n.*?^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_steps_run_as_pasted(folder: Path) -> None:
    for line in block("First steps in the shell", "bash").replace("\\\n", "").splitlines():
        program, *arguments = shlex.split(line, comments=True)
        ended = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert (program, ended.exit_code) == ("lora-core", 0), ended.output
    assert {path.name for path in folder.iterdir()} == FIRST_STEPS


def test_the_ten_lines_of_python_run_as_pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block("Ten lines of Python", "python"), "README.md", "exec"), {})
    assert (folder / "zibbo.mp4").stat().st_size > 0
    assert "zibbo_character" in capsys.readouterr().out
