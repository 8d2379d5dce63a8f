"""The log of a run: its rows outlive any crash, and a resumed run's are those of a straight one."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from full_disk import files_of_at_most
from PIL import Image

from lora_core.errors import OutputError, TrainingError
from lora_core.experts import EXPERTS
from lora_core.training.environment import write_environment
from lora_core.training.log import COLUMNS, LogRow, RunLog, read_log
from lora_core.training.plot import draw_losses, save_loss_plot, smoothed
from lora_core.training.trackers import TRACKERS, Run, curves_of, open_tracker


def row(step: int, **values) -> LogRow:
    settings = {"expert": EXPERTS[step % 2], "loss": 1 / 3 / step, "learning_rate": 1e-4} | values
    return LogRow(step=step, **settings)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("log.jsonl", "log.csv")]


def write(folder: Path, last: int) -> None:
    log = RunLog(folder)
    for step in range(max(1, log.last_step + 1), last + 1):
        log.append(row(step, gradient_norm=0.5, held_out_low_noise=0.1 if step % 3 == 0 else None))


def test_rows_are_read_back_bit_for_bit_from_both_files(tmp_path: Path) -> None:
    write(tmp_path / "run", 7)
    rows = read_log(tmp_path / "run")
    assert [r.step for r in rows] == list(range(1, 8))
    assert rows[2] == row(3, gradient_norm=0.5, held_out_low_noise=0.1)
    assert (rows[2].held_out("low_noise"), rows[2].held_out("high_noise")) == (0.1, None)
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(table) == len(lines) == 7
    for cells, entries in zip(table, lines, strict=True):
        assert tuple(cells) == tuple(entries) == COLUMNS
        assert cells == {key: "" if value is None else str(value) for key, value in entries.items()}


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_log_cut_anywhere_goes_on_behind_its_last_whole_row(tmp_path: Path, name: str) -> None:
    write(tmp_path, 5)
    whole = contents(tmp_path)
    file = tmp_path / name
    for size in range(0, len(file.read_bytes()), 7):
        file.write_bytes(file.read_bytes()[:size])
        steps = [r.step for r in RunLog(tmp_path).rows]
        assert steps == list(range(1, len(steps) + 1))
        assert name == "log.jsonl" or len(steps) == 5  # the CSV is made again from the lines
        write(tmp_path, 5)
        assert contents(tmp_path) == whole


def test_a_killed_program_leaves_every_row_that_it_was_told_is_written(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lora_core.training.log import LogRow, RunLog\nlog = RunLog(sys.argv[1])\n"
        "for step in range(1, 10**6):\n"
        "    log.append(LogRow(step=step, expert='low_noise', loss=0.1, learning_rate=0.1))\n"
        "    print(step, flush=True)\n"
    )
    for pause in (0.0, 0.013, 0.05):
        folder = tmp_path / str(pause)
        child = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        told = [1, *(int(line) for line in child.communicate()[0].split("\n")[:-1])]
        log = RunLog(folder)
        assert told[-1] <= log.last_step <= told[-1] + 1
        assert len(contents(folder)[1].splitlines()) == 1 + log.last_step


def test_a_resumed_log_equals_the_straight_one(tmp_path: Path) -> None:
    write(tmp_path / "straight", 9)
    write(tmp_path / "resumed", 7)
    log = RunLog(tmp_path / "resumed")
    log.truncate_after(4)  # where the checkpoint is
    assert log.last_step == 4
    assert contents(tmp_path / "resumed")[0].count(b"\n") == 4
    log.append(row(5, gradient_norm=0.5))
    write(tmp_path / "resumed", 9)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "straight")
    assert sorted(path.name for path in (tmp_path / "resumed").iterdir()) == ["log.csv", "log.jsonl"]


def test_a_loss_that_is_not_finite_is_logged_as_such_and_none_as_none(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.append(LogRow(step=0, expert="low_noise", held_out_low_noise=0.5))
    log.append(row(1, loss=math.inf, gradient_norm=math.nan))
    assert b"NaN" not in contents(tmp_path)[0]
    measured, found = read_log(tmp_path)
    assert (measured.loss, measured.held_out_low_noise) == (None, 0.5)
    assert math.isnan(found.loss)
    assert found.gradient_norm is None


def test_a_folder_without_a_log_has_no_rows(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none") == ()


def message(make) -> str:
    with pytest.raises((TrainingError, OutputError)) as caught:
        make()
    return str(caught.value)


def test_steps_only_go_up(tmp_path: Path) -> None:
    write(tmp_path, 3)
    said = message(lambda: RunLog(tmp_path).append(row(3)))
    assert said == (
        f"{tmp_path / 'log.jsonl'}: step 3 is logged behind step 3. Truncate the log to the step to go on from."
    )


def test_a_line_damaged_in_the_middle_is_named_and_nothing_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, 3)
    file = tmp_path / "log.jsonl"
    first, second, third = file.read_bytes().splitlines(keepends=True)
    remedy = "Remove the line and those behind it, or move the log away."
    for bad, what in ((b"{nonsense\n", "is no JSON: "), (b'{"loss": 1}\n', "is no row of a log"), (first, "step 1")):
        file.write_bytes(first + bad + third)
        said = message(lambda: RunLog(tmp_path))
        assert said.startswith(f"{file} line 2: {what}")
        assert said.endswith(remedy)
        assert file.read_bytes() == first + bad + third
    file.write_bytes(first + second.replace(b'"seconds"', b'"second"'))
    assert "unknown key 'second' (nearest: 'seconds')" in message(lambda: RunLog(tmp_path))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file' / 'log.jsonl'}: " in message(lambda: RunLog(tmp_path / "file"))


def test_a_full_disk_is_told_and_leaves_the_rows_before(tmp_path: Path) -> None:
    write(tmp_path, 2)
    room = len(contents(tmp_path)[0]) + 20
    log = RunLog(tmp_path)
    with files_of_at_most(room):
        said = message(lambda: log.append(row(3)))
    assert (log.last_step, said.startswith(f"{tmp_path / 'log.jsonl'}: cannot be written: ")) == (2, True)
    assert said.endswith("Free space, then resume the run.")
    assert len(contents(tmp_path)[0]) == room  # a piece of the third row
    log = RunLog(tmp_path)
    assert log.last_step == 2
    log.append(row(3))
    assert [r.step for r in read_log(tmp_path)] == [1, 2, 3]


# ---------------------------------------------------------------------------------------------- picture


def some_rows(num_steps: int) -> list[LogRow]:
    return [row(step, held_out_high_noise=0.3 / step if step % 10 == 0 else None) for step in range(1, num_steps + 1)]


def test_the_plot_shows_a_panel_for_each_expert_that_was_trained(tmp_path: Path) -> None:
    figure = draw_losses(some_rows(60), title="orbit $x$")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss, high-noise expert", "loss, low-noise expert"]
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert labels[0] == ["each step", "train", "held out", "best held out 0.005 at step 60"]
    assert labels[1] == ["each step", "train"]
    path = save_loss_plot(some_rows(60), tmp_path / "loss.png", title="orbit")
    with Image.open(path) as image:
        assert image.width == 1200
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10


def test_one_row_and_losses_that_are_not_finite_can_be_drawn(tmp_path: Path) -> None:
    save_loss_plot([row(1)], tmp_path / "one.png")
    figure = draw_losses([row(2), row(4, loss=math.nan), row(6)])
    assert "not finite" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    save_loss_plot([row(2, loss=math.nan)], tmp_path / "none.png")
    before = LogRow(step=0, expert="low_noise", held_out_high_noise=0.4, held_out_low_noise=0.5)
    figure = draw_losses([before, row(1), row(2)])
    labels = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert (labels.count("held out"), "not finite" in labels) == (2, False)
    save_loss_plot([before], tmp_path / "measured.png")
    assert message(lambda: draw_losses([])) == "loss plot: the log has no row yet. Train a step first."


def test_the_line_is_a_mean_that_keeps_a_constant_and_skips_what_is_not_finite() -> None:
    np.testing.assert_allclose(smoothed(np.full(200, 0.3)), 0.3)
    noisy = np.where(np.arange(400) % 2, 1.0, 0.0)
    assert np.abs(smoothed(noisy)[20:-20] - 0.5).max() < 0.03
    broken = np.full(50, 2.0)
    broken[10] = np.nan
    np.testing.assert_allclose(smoothed(broken), 2.0)


# ---------------------------------------------------------------------------------------------- trackers, environment


def test_curves_are_apart_by_expert_and_leave_out_what_was_not_taken() -> None:
    assert curves_of(row(2, seconds=1.5, memory_bytes=2_000_000_000, loss=math.nan)) == {
        "learning_rate/high_noise": 1e-4,
        "seconds": 1.5,
        "memory_gb": 2.0,
    }
    assert curves_of(row(1, held_out_high_noise=0.2))["held_out/high_noise"] == 0.2
    assert curves_of(row(1))["loss/low_noise"] == 1 / 3


# TensorBoard builds on a numpy that warns of itself
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_the_rows_and_those_of_a_resumed_run_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for last_step, steps in ((0, range(1, 7)), (3, range(4, 9))):
        tracker = open_tracker("tensorboard", Run(tmp_path, "run", {"rank": 4}, last_step))
        for step in steps:
            tracker.log(row(step, expert="low_noise", loss=step + last_step))
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("loss/low_noise")}
    assert found == {1: 1, 2: 2, 3: 3, 4: 7, 5: 8, 6: 9, 7: 10, 8: 11}


def test_an_unknown_tracker_or_a_missing_package_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", {})
    assert message(lambda: open_tracker("tensorbord", run)) == (
        "tracker: unknown value 'tensorbord' (nearest: 'tensorboard'). Choose one that there is."
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom lora_core.training.trackers import Run, open_tracker\n"
        "sys.modules[sys.argv[1]] = None\nopen_tracker(sys.argv[1], Run(Path(sys.argv[2]), 'run', {}))\n"
    )
    for name in TRACKERS:
        command = [sys.executable, "-c", code, name, str(tmp_path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.stderr.strip().endswith(
            f"tracker {name}: needs the package {name}. Run `pip install 'wanloom[trackers]'`, "
            "or leave it out: the CSV and the plot need nothing."
        )


def test_the_environment_tells_versions_machine_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    found = json.loads(write_environment(tmp_path).read_text())
    assert found["packages"]["torch"] == found["torch"]["version"]
    assert found["packages"]["peft"]
    assert found["machine"]["num_cores"] == os.cpu_count()
    assert found["variables"]["OMP_NUM_THREADS"] == "1"
    assert "SECRET_TOKEN" not in found["variables"]
