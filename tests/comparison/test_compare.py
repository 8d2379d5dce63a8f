"""A whole comparison, run by run in processes of their own: stopped, gone on with from the shell, not done twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from comparison.small import few_clips, keys

import lora_core
from lora_core.cli.main import cli
from lora_core.comparison.compare import Compared, compare
from lora_core.comparison.config import CompareConfig, Run, make_comparison
from lora_core.comparison.folder import ComparisonFolder, read_json
from lora_core.errors import OutputError, TrainingError
from lora_core.training.checkpoints import checkpoints_in
from lora_core.training.log import read_log

FIRST, SECOND = Run("lora", 1e-2, 0), Run("lora", 1e-2, 1)
STEPS = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    few_clips(folder / "clips")
    return folder


def config_for(place: Path, **more: object) -> CompareConfig:
    given = keys(place / "clips", steps=STEPS, save_every=2)
    given["compare"] |= {"methods": ["lora"], "rates": {"lora": [1e-2]}, "seeds": [0, 1]}
    return make_comparison(given | more)


@pytest.fixture(scope="module")
def stopped(place: Path) -> Compared:
    """Ask for an end as soon as the second training has taken a step."""
    out = place / "out"

    def second_has_begun() -> bool:
        return len(read_log(ComparisonFolder(out).run(SECOND).path)) > 1

    return compare(config_for(place), out, should_stop=second_has_begun)


@dataclass(frozen=True)
class GoneOn:
    """What came of going on with it: all that was found, what was told, and when the first training had ended."""

    folder: ComparisonFolder
    data: dict[str, Any]
    told: str
    written: float


@pytest.fixture(scope="module")
def gone_on(stopped: Compared) -> GoneOn:
    """Go on with it as a user does."""
    folder, written = stopped.folder, stopped.folder.judged(FIRST).stat().st_mtime
    ended = CliRunner().invoke(cli, ["compare", str(folder.config), "-o", str(folder.path)], catch_exceptions=False)
    assert (ended.exit_code, ended.stdout) == (0, f"{folder.report}\n")
    return GoneOn(folder, read_json(folder.data) or {}, ended.stderr, written)


def test_a_comparison_that_is_stopped_keeps_what_it_has(stopped: Compared) -> None:
    states = {row["name"]: row["state"] for row in stopped.data["runs"]}
    assert not stopped.is_over
    assert states == {FIRST.name: "finished", SECOND.name: "begun"}
    assert checkpoints_in(stopped.folder.run(SECOND).checkpoints)
    assert 1 < len(read_log(stopped.folder.run(SECOND).path)) <= STEPS
    assert "*This comparison is not over: 1 training and what follows from it is missing.*" in (
        stopped.folder.report.read_text()
    )


def test_it_goes_on_with_the_training_that_was_cut_and_repeats_none(gone_on: GoneOn) -> None:
    assert gone_on.data["is_over"]
    assert {row["state"] for row in gone_on.data["runs"]} == {"finished"}
    assert gone_on.folder.judged(FIRST).stat().st_mtime == gone_on.written
    assert f"{SECOND.name}: held-out loss" in gone_on.told
    assert FIRST.name not in gone_on.told
    sessions = read_json(gone_on.folder.sessions(SECOND))
    assert sessions is not None
    assert len(sessions["sessions"]) == 2
    assert [row.step for row in read_log(gone_on.folder.run(SECOND).path)] == list(range(STEPS + 1))


def test_the_spread_over_the_seeds_and_the_videos_are_in_the_report(gone_on: GoneOn) -> None:
    data = gone_on.data
    lora = data["methods"]["lora"]
    assert lora["num_seeds"] == 2
    assert lora["held_out"]["plain"]["mean"]["half_width"] > 0
    assert set(data["videos"]) == {"base-plain", f"{FIRST.name}-plain", f"{SECOND.name}-plain"}
    assert lora["judged"]["plain"]["moved"]["least"] > 0
    text = gone_on.folder.report.read_text()
    assert "not over" not in text
    assert "![The same prompts and noise" in text
    assert (gone_on.folder.path / "images" / "comparison-videos.png").is_file()


def test_memory_is_that_of_the_trainings_own_processes(gone_on: GoneOn) -> None:
    for row in gone_on.data["runs"]:
        assert 50e6 < row["system_bytes"] < 8e9
        assert row["device_bytes"] is None or row["device_bytes"] > 0
        assert 0 < row["seconds_per_step"] < row["seconds_of_steps"] < row["seconds"]


def test_other_settings_are_refused_before_anything_is_done(place: Path, gone_on: GoneOn) -> None:
    out = place / "out"
    with pytest.raises(TrainingError) as error:
        compare(config_for(place, steps=9), out)
    assert str(error.value) == (
        f"{out}: the trainings here have other settings: steps 8 there, 9 here. "
        "Go on with the same, or compare in another folder."
    )


def test_two_comparisons_do_not_write_into_one_folder(place: Path, tmp_path: Path) -> None:
    with ComparisonFolder(tmp_path).locked(), pytest.raises(OutputError, match="another comparison writes into this"):
        compare(config_for(place), tmp_path)


def test_what_a_process_raises_is_raised_here_in_its_own_class(place: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = keys(tmp_path / "empty")
    with pytest.raises(lora_core.DatasetError, match="is empty"):
        compare(make_comparison(given), tmp_path / "out")
