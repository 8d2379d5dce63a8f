"""A training that is killed at any moment leaves its last checkpoint whole.

KILLS=300 pytest tests/training/test_kill.py     kills more often; `make prove-kills` does
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.pocket_clips import neon_clips, pocket

from lora_core.cli.ending import asked_to_end
from lora_core.errors import OutputError
from lora_core.training.checkpoints import checkpoints_in, prune, read_checkpoint, step_of, write_checkpoint
from lora_core.training.config import make_config
from lora_core.training.train import train

NUM_KILLS = int(os.environ.get("KILLS", "40"))


def state_of(step: int) -> dict[str, object]:
    """Return a state of a few megabytes that tells its step in every number."""
    return {"learners": {"low_noise": {"weights": {str(i): torch.full((64, 1024), step + i) for i in range(16)}}}}


def write_files(folder: Path) -> None:
    (folder / "high_noise.safetensors").write_bytes(os.urandom(1 << 20))


def write_on_and_on(folder: Path) -> None:
    """Write checkpoint after checkpoint, as a training does that saves every step."""
    done = checkpoints_in(folder)
    step = step_of(done[-1]) if done else 0
    while True:
        step += 1
        write_checkpoint(folder, step, state_of(step), write_files)
        prune(folder, keep_last=2, keep_every=0, also=None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_whatever_moment_it_is_killed_at_the_last_checkpoint_can_be_gone_on_from(tmp_path: Path) -> None:
    rng, newest = random.Random(0), 0
    started = time.perf_counter()
    write_checkpoint(tmp_path, 1, state_of(1), write_files)
    long = 0.05 + 4 * (time.perf_counter() - started)  # enough for some to be written, whatever machine this is
    for _ in range(NUM_KILLS):
        child = os.fork()
        if child == 0:
            write_on_and_on(tmp_path)
        time.sleep(rng.uniform(0, long))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        there = checkpoints_in(tmp_path)
        for path in there:
            state = read_checkpoint(path)
            weights = state["learners"]["low_noise"]["weights"]
            assert all(torch.equal(weights[str(i)], torch.full((64, 1024), step_of(path) + i)) for i in range(16))
        assert step_of(there[-1]) >= newest
        newest = step_of(there[-1])
    assert newest > 1  # else nothing was ever written, and nothing proved
    write_checkpoint(tmp_path, newest + 1, state_of(newest + 1))
    prune(tmp_path, keep_last=1, keep_every=0, also=None)
    visible = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert visible == [f"step-{newest + 1:06d}"]
    for left in set(tmp_path.iterdir()) - {tmp_path / visible[0]}:  # killed as it was made or removed, a moment ago
        os.utime(left, (0, 0))
    write_checkpoint(tmp_path, newest + 2, {})
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, state_of(1))

    def fill_up(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot be written: .*No space left on device"):
        write_checkpoint(tmp_path, 2, state_of(2), fill_up)
    assert [step_of(path) for path in checkpoints_in(tmp_path)] == [1]
    assert read_checkpoint(tmp_path / "step-000001")["step"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_is_ended_from_outside_goes_on_to_the_same_end(tmp_path: Path, number: signal.Signals) -> None:
    clips = neon_clips(tmp_path / "clips", num_clips=3, num_held_out=0)
    chosen = {"steps": 12, "switch_every": 1, "rank": 2, "targets": ["self_attn"], "blocks": "0", "save_every": 1}
    config = make_config({"clips": "x", "name": "n", **chosen})
    straight = train(config, pocket(), clips, tmp_path / "straight")
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException), asked_to_end() as should_stop:
            torch.set_num_threads(1)  # a forked process has none of its parent's
            train(config, pocket(), clips, tmp_path / "ended", should_stop=should_stop)
            code = 0
        os._exit(code)
    while len(checkpoints_in(tmp_path / "ended" / "checkpoints")) < 2:
        time.sleep(0.01)
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (number == signal.SIGKILL)
    assert not (tmp_path / "ended" / "result.json").exists()
    ended = train(config, pocket(), clips, tmp_path / "ended", resume=True)
    for expert, file in straight.files.items():
        one, other = load_file(file), load_file(ended.files[expert])
        assert all(torch.equal(one[name], other[name]) for name in one)
