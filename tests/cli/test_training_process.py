"""A training that a program follows: the lines it tells, and how it ends with the program that follows it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from filmed import film, scene

from lora_core.cli.training_process import run_training
from lora_core.errors import DatasetError, TrainingError
from lora_core.training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
KEYS = ("rank=2", "blocks=0", "targets=self_attn", "switch_every=1", "batch_size=1")
SMALL = tuple(f"--set={key}" for key in KEYS)
ENDLESS = ("--steps", 100_000, "--set=validate_every=0", "--set=save_every=0")
Run = Callable[..., tuple[int, str, str]]

#: Follows a training until it is killed, and says so at its first step.
FOLLOWER = """
import sys
from lora_core.cli.training_process import run_training
run_training(sys.argv[1:], tell=lambda event: event["event"] == "step" and print(event["step"], flush=True))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Film three clips with captions."""
    folder = tmp_path_factory.mktemp("filmed")
    for name in ("red", "green", "blue"):
        film(folder / f"{name}.mp4", scene(name))
        (folder / f"{name}.txt").write_text(f"a {name} circle moves right on a plain background")
    return folder


@pytest.fixture
def arguments(clips: Path, tmp_path: Path) -> tuple[object, ...]:
    """Give the arguments of a training into `out`."""
    return ("--clips", clips, "--cache", clips.parent / "cache", "-o", tmp_path / "out", *SMALL)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def events_in(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def documented() -> dict[str, set[str]]:
    """Return event -> its keys, as docs/training.md has them."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = text.partition("## Followed by a program")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", keys)) for event, keys in rows}


def test_every_line_is_an_event_as_it_is_documented(run: Run, arguments: tuple[object, ...], tmp_path: Path) -> None:
    previews = ("--set=preview_every=2", "--set=preview_steps=1", "--set=preview_prompts=a red circle")
    held_out = ("--set=held_out=0.34", "--set=num_levels=1")
    code, out, err = run("train", *arguments, "--steps", 2, *previews, *held_out, "--progress", "json")
    assert (code, err) == (0, "")
    told = events_in(out)
    table = documented()
    assert {event["event"] for event in told} == set(table) - {"error"}
    for event in told:
        assert set(event) - {"event", "forms"} == table[event["event"]]
    assert [event["step"] for event in told if event["event"] == "step"] == [1, 2]
    assert [event["step"] for event in told if event["event"] == "preview"] == [0, 2]
    assert told[-1]["files"].keys() == {"high_noise", "low_noise"}
    assert all(Path(path).is_file() for path in told[-1]["files"].values())


def test_an_error_is_the_last_line_and_the_end(run: Run, tmp_path: Path) -> None:
    code, out, err = run("train", "--clips", tmp_path / "none", "-o", tmp_path / "out", "--progress", "json")
    (*_, last) = events_in(out)
    assert code == 1
    assert last["event"] == "error"
    assert set(last) - {"event", "forms"} == documented()["error"]
    assert last["kind"] == "DatasetError"
    assert err.strip() == f"Error: {last['message']}"


def test_what_is_raised_while_it_is_told_ends_it_with_a_checkpoint(
    arguments: tuple[object, ...], tmp_path: Path
) -> None:
    steps: list[int] = []
    before = children()

    def tell(event: Any) -> None:
        if event["event"] == "step":
            steps.append(event["step"])
            if event["step"] == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training([*map(str, arguments), *map(str, ENDLESS)], tell=tell)
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert checkpoint.name == f"step-{steps[-1]:06}"
    assert steps[-1] < 1000
    assert children() <= before


def test_it_does_not_outlive_the_program_that_follows_it(arguments: tuple[object, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOLLOWER, *map(str, arguments), *map(str, ENDLESS)]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "1\n"
    (training,) = psutil.Process(follower.pid).children()
    follower.kill()
    follower.wait()
    follower.stdout.close()
    training.wait(60)
    assert RunFolder(tmp_path / "out").last_checkpoint is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals")
def test_one_that_is_killed_is_an_error_and_leaves_no_process(arguments: tuple[object, ...], tmp_path: Path) -> None:
    before = children()

    def tell(event: Any) -> None:
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"^training: its process was killed by signal 9 and said last: nothing\. "):
        run_training([*map(str, arguments), "--steps", "2"], tell=tell)
    time.sleep(0.1)
    assert children() <= before


def test_its_own_error_is_raised_as_it_was_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        run_training(["--clips", tmp_path / "none", "-o", tmp_path / "out"], tell=lambda event: None)
    assert caught.value.where == str(tmp_path / "none")
    assert str(caught.value).endswith(": there is no such folder (a folder of clips). Check the path.")
