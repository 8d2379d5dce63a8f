"""What lies in the folder of a run beside its result: the log, its picture, the trackers' files, the environment."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from training.pocket_clips import neon_clips, pocket

from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.log import LogRow, read_log
from lora_core.training.settings.watching import TRACKERS as TRACKER_NAMES
from lora_core.training.trackers import TRACKERS
from lora_core.training.train import Trained, train

# TensorBoard's own reader warns of its protocol buffers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=3, num_held_out=1)


@pytest.fixture(scope="module")
def straight(clips: ClipCache, tmp_path_factory: pytest.TempPathFactory) -> tuple[LogRow, ...]:
    """Return the log of a run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    run(clips, folder)
    return read_log(folder)


def run(clips: ClipCache, out: Path, *, stop_after: int | None = None, resume: bool = False, **keys) -> Trained:
    common = {"clips": str(clips.folder), "name": "neon", "steps": 4, "switch_every": 1, "rank": 2, "blocks": "0-1"}
    config = make_config({**common, "validate_every": 2, "num_levels": 1, "save_every": 0, **keys})
    return train(config, pocket(), clips, out, stop_after=stop_after, resume=resume)


def without_costs(rows: tuple[LogRow, ...]) -> list[LogRow]:
    return [replace(row, seconds=None, memory_bytes=None) for row in rows]


def shown(folder: Path) -> dict[int, float]:
    """Return step -> loss as TensorBoard reads it; a step that is there twice fails."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    points = [(e.step, e.value) for tag in events.Tags()["scalars"] if "loss/" in tag for e in events.Scalars(tag)]
    assert len(points) == len(dict(points))
    return dict(points)


def test_a_run_that_was_killed_behind_its_checkpoint_shows_every_step_once(
    clips: ClipCache, straight: tuple[LogRow, ...], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    resumed = tmp_path / "resumed"
    run(clips, resumed, stop_after=3, trackers=["tensorboard"])
    kept = read_log(resumed)
    with (resumed / "log.jsonl").open("a") as file:
        last = {**kept[-1].entries(), "step": 4, "loss": 9.0}
        file.write(json.dumps(last) + '\n{"step": 5, "exp')
    run(clips, resumed, resume=True, trackers=["tensorboard"])
    assert without_costs(read_log(resumed)) == without_costs(straight)
    assert read_log(resumed)[: len(kept)] == kept
    assert [row.step for row in straight] == [0, 1, 2, 3, 4]
    assert shown(resumed) == pytest.approx({row.step: row.loss for row in straight[1:]})


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(
    clips: ClipCache, straight: tuple[LogRow, ...], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    resumed = tmp_path / "resumed"
    run(clips, resumed, stop_after=3, trackers=["tensorboard"])
    shutil.rmtree(resumed / "checkpoints")
    with (resumed / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "exp')
    run(clips, resumed, resume=True, trackers=["tensorboard"])
    assert without_costs(read_log(resumed)) == without_costs(straight)
    assert shown(resumed) == pytest.approx({row.step: row.loss for row in straight[1:]})


def test_the_folder_holds_csv_picture_and_environment(clips: ClipCache, tmp_path: Path) -> None:
    run(clips, tmp_path / "run", stop_after=2)
    rows = read_log(tmp_path / "run")
    assert all(row.seconds and row.memory_bytes for row in rows if row.loss is not None)
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        assert [int(cells["step"]) for cells in csv.DictReader(file)] == [0, 1, 2]
    assert (tmp_path / "run" / "loss.png").stat().st_size > 5000
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["packages"]["torch"]


def test_the_trackers_that_settings_know_are_those_there_are() -> None:
    assert set(TRACKERS) == set(TRACKER_NAMES)
