"""Several processes that train together do what one does that accumulates as many batches, to float rounding."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from filmed import shipped_clips
from safetensors.torch import load_file
from training.pocket_clips import neon_clips

from lora_core.cli.train import open_model
from lora_core.errors import TrainingError
from lora_core.training.checkpoints import checkpoints_in
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.ranks import Alone, find_ranks
from lora_core.training.train import train

SMALL = {
    "clips": "x",
    "name": "n",
    "steps": 4,
    "switch_every": 1,
    "rank": 2,
    "targets": ["self_attn"],
    "blocks": "0-1",
    "lr": 1e-3,
    "validate_every": 4,
    "num_levels": 1,
    "save_every": 0,
}
FULL = {key: value for key, value in SMALL.items() if key not in ("rank", "targets", "blocks")} | {"method": "full"}
#: What is trained in two processes, by its name; each has a file of its own.
TRAININGS: Mapping[str, dict[str, Any]] = {
    "lora": SMALL | {"dropout": 0.3, "accumulation": 2, "ema": 0.9, "checkpointing": True},
    "qlora": SMALL | {"method": "qlora", "base": "int8"},
    "all weights": FULL | {"lr": 1e-4},
    "speed": SMALL | {"objective": "speed", "num_trajectories": 2, "teacher_steps": 6},
}
#: How processes are told to work together.
WAYS: Mapping[str, dict[str, str]] = {
    "DDP": {},
    "FSDP": {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"},
}
#: What cannot be trained, in each way.
BROKEN: Mapping[str, dict[str, Any]] = {"DDP": {"rank": 500}, "FSDP": {"optimizer": "adafactor"}}
#: The command line in two processes, as accelerate starts them without a GPU too.
ACCELERATE = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--multi_gpu"),
    *("--main_process_port", "0", "-m", "lora_core"),
]


@dataclass(frozen=True)
class Folder:
    """Clips, and what was trained on them in which way."""

    path: Path
    clips: ClipCache

    def launch(self, way: str, jobs: list[tuple[str, dict[str, Any], dict[str, Any], int]]) -> str:
        """Do trainings in two processes, one after the other; returns what they say."""
        (self.path / "clips.pickle").write_bytes(pickle.dumps(self.clips))
        rows = [(str(self.path / way / name), settings, options, at) for name, settings, options, at in jobs]
        script = [str(Path(__file__).parent / "launched.py"), str(self.path / "clips.pickle"), json.dumps(rows)]
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run([*launcher, *script], env=environment(**WAYS[way]), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout


def environment(**more: str) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"} | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("ranks")
    return Folder(path, neon_clips(path / "clips", num_clips=4, num_held_out=1))


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, folder: Folder) -> str:
    """Do all trainings in one way, each straight, and one in two parts."""
    straight = [(name, TRAININGS[name], {}, 0) for name in TRAININGS]
    parts = [("parts", TRAININGS["lora"], {}, 3), ("parts", TRAININGS["lora"], {"resume": True}, 0)]
    broken = [("other", TRAININGS["lora"] | BROKEN[request.param], {}, 0)]
    said = folder.launch(request.param, [*straight, *parts, *broken])
    (folder.path / request.param / "said").write_text(said)
    return str(request.param)


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "memory_bytes")} for line in lines]


def alone(folder: Folder, name: str) -> Path:
    """Train in this process what two have trained."""
    settings = TRAININGS[name]
    config = make_config(settings | {"accumulation": 2 * settings.get("accumulation", 1)})
    out = folder.path / "alone" / name
    if not out.exists():
        train(config, open_model(config.model), folder.clips, out)
    return out


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_learn_what_one_does_that_accumulates_twice_as_much(folder: Folder, way: str, name: str) -> None:
    one, two = alone(folder, name), folder.path / way / name
    assert len(rows(one)) == len(rows(two)) == 5
    for first, second in zip(rows(one), rows(two), strict=True):
        assert first.keys() == second.keys()
        for key, value in first.items():
            is_number = isinstance(value, float)
            assert second[key] == (pytest.approx(value, rel=1e-5, abs=1e-5) if is_number else value)
    files = sorted(path.name for path in one.glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        first, second = load_file(one / file), load_file(two / file)
        assert first.keys() == second.keys()
        assert all(torch.allclose(first[key], second[key], atol=1e-5) for key in first)


def test_two_processes_that_go_on_learn_what_they_would_have_learnt_without_a_stop(folder: Folder, way: str) -> None:
    straight, parts = folder.path / way / "lora", folder.path / way / "parts"
    assert rows(straight) == rows(parts)
    for file in ("n_high_noise.safetensors", "n_low_noise.safetensors"):
        assert (straight / file).stat().st_size == (parts / file).stat().st_size
        first, second = load_file(straight / file), load_file(parts / file)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_all_stop_behind_the_step_in_which_one_wants_an_end(folder: Folder, way: str) -> None:
    stopped, last = checkpoints_in(folder.path / way / "parts" / "checkpoints")
    assert (stopped.name, last.name) == ("step-000003", "step-000004")


def test_a_training_of_two_does_not_go_on_as_one_of_one(folder: Folder, way: str) -> None:
    config, out = make_config(TRAININGS["lora"]), folder.path / way / "parts"
    (out / "result.json").unlink()
    with pytest.raises(TrainingError, match="the number of processes changed since this training began"):
        train(config, open_model(config.model), folder.clips, out, resume=True)


def test_an_error_that_all_meet_is_told_once(folder: Folder, way: str) -> None:
    said = (folder.path / way / "said").read_text().splitlines()
    expected = {
        "DDP": "TrainingError in 0: rank: 500 is larger",
        "FSDP": "TrainingError in 0: optimizer: adafactor needs whole weights, and with FSDP each process has parts of",
    }
    (told,) = [line for line in said if line.startswith("TrainingError")]
    assert told.startswith(expected[way])
    assert [line for line in said if "in 1" in line] == ["FailedElsewhere in 1: process 1: process 0 has failed."]


def test_a_launched_command_saves_when_the_launcher_is_interrupted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clips = shipped_clips(tmp_path / "clips", 3)
    keys = ("preview_every=0", "validate_every=0", "rank=2", "blocks=0", "steps=1000")
    command = ["train", "--clips", str(clips), "-o", str(out), *(f"--set={key}" for key in keys)]
    with subprocess.Popen([*ACCELERATE, *command], env=environment(), stderr=subprocess.PIPE, text=True) as running:
        patience = time.monotonic() + 120
        while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text():
            assert running.poll() is None, running.stderr.read() if running.stderr else ""
            assert time.monotonic() < patience
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert "go on with" not in said
    assert len(checkpoints_in(out / "checkpoints")) == 1


def test_a_launched_command_tells_an_error_once(tmp_path: Path) -> None:
    command = [*ACCELERATE, "train", "--clips", str(tmp_path / "none"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [
        f"Error: {tmp_path / 'none'}: there is no such folder (a folder of clips). Check the path."
    ]


def test_what_a_launcher_asks_for_and_we_do_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(find_ranks(), Alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(TrainingError) as error:
        find_ranks()
    assert str(error.value) == (
        "launcher: FSDP_VERSION is '1' (2). Launch with --fsdp_version 2, with accelerate 1.6 or newer."
    )
