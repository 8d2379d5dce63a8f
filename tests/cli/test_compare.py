"""The command `compare`: what it refuses before it begins; what it does is tested in tests/comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_core.comparison.config import Run, read_comparison
from lora_core.comparison.folder import ComparisonFolder

Run3 = Callable[..., tuple[int, str, str]]
CONFIG = 'clips = "clips"\npreset = "quick"\n[compare]\nmethods = ["lora"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    file = tmp_path / "compare.toml"
    file.write_text(CONFIG)
    return file


def refused(done: tuple[int, str, str]) -> str:
    code, out, err = done
    assert (code, out) == (1, ""), err
    assert err.count("Error: ") == 1
    return err.splitlines()[-1].removeprefix("Error: ")


def test_a_file_that_is_none_is_refused(run: Run3, tmp_path: Path) -> None:
    text = refused(run("compare", tmp_path / "no.toml", "-o", tmp_path / "out"))
    assert text == f"{tmp_path / 'no.toml'}: cannot be read: No such file or directory. Check the path."
    (tmp_path / "no.toml").write_text("[compare")
    assert "is no TOML" in refused(run("compare", tmp_path / "no.toml", "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_key_that_would_do_nothing_is_refused(run: Run3, config: Path, tmp_path: Path) -> None:
    text = refused(run("compare", config, "-o", tmp_path / "out", "--set=base=fp8"))
    assert text == "base: would do nothing with methods lora. Leave it out, or compare qlora."
    text = refused(run("compare", config, "-o", tmp_path / "out", "--set=seed=4"))
    assert text == "seed: is set by the comparison itself (seeds of [compare]). Leave it out."
    assert not (tmp_path / "out").exists()


def test_a_report_that_could_not_be_written_is_refused(run: Run3, config: Path, tmp_path: Path) -> None:
    text = refused(run("compare", config, "-o", tmp_path / "out", "--report", tmp_path / "report.pdf"))
    assert text == f"{tmp_path / 'report.pdf'}: cannot write a report as '.pdf' (Markdown). Let its name end in .md."
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_other_trainings_is_refused(run: Run3, config: Path, tmp_path: Path) -> None:
    comparison = read_comparison(config)
    place = ComparisonFolder(tmp_path / "out").run(Run("lora", 1e-2, 0))
    place.path.mkdir(parents=True)
    place.config.write_text(comparison.train_config(Run("lora", 1e-2, 0)).to_toml())
    text = refused(run("compare", config, "-o", tmp_path / "out", "--set=steps=7"))
    assert text == (
        f"{tmp_path / 'out'}: the trainings here have other settings: steps 90 there, 7 here. "
        "Go on with the same, or compare in another folder."
    )


def test_a_folder_that_is_a_file_is_refused(run: Run3, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = refused(run("compare", config, "-o", tmp_path / "file" / "out"))
    assert text.startswith(f"{tmp_path}/file/out/comparison.json: {tmp_path}/file is a file (a folder to write into)")
