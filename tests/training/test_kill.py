"""A training that is killed at any moment leaves its last checkpoint whole.

KILLS=300 pytest tests/training/test_kill.py     kills more often; `make prove-kills` does
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.killed import processes, state_of, train_until_told, write_files, write_on_and_on
from training.pocket_clips import neon_clips, pocket

from lora_core.errors import OutputError
from lora_core.training.checkpoints import checkpoints_in, prune, read_checkpoint, step_of, write_checkpoint
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.train import Trained, train

NUM_KILLS = int(os.environ.get("KILLS", "40"))
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such processes and signals")


@on_posix
def test_whatever_moment_it_is_killed_at_the_last_checkpoint_can_be_gone_on_from(tmp_path: Path) -> None:
    rng, newest = random.Random(0), 0
    started = time.perf_counter()
    write_checkpoint(tmp_path, 1, state_of(1), write_files)
    long = 4 * (time.perf_counter() - started)  # enough for some to be written, whatever machine this is
    for _ in range(NUM_KILLS):
        child = processes().Process(target=write_on_and_on, args=(tmp_path,))
        child.start()
        while not any(path.name.startswith(".") for path in tmp_path.iterdir()) and child.is_alive():
            time.sleep(0.001)  # until it writes
        time.sleep(rng.uniform(0, long))
        child.kill()
        child.join()
        there = checkpoints_in(tmp_path)
        for path in there:
            weights = read_checkpoint(path)["learners"]["low_noise"]["weights"]
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


LEARNT = {"steps": 8, "switch_every": 1, "rank": 2, "targets": ["self_attn"], "blocks": "0", "save_every": 1}
KEYS = {"clips": "x", "name": "n", **LEARNT}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=3, num_held_out=0)


@pytest.fixture(scope="module")
def straight(clips: ClipCache, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(make_config(KEYS), pocket(), clips, tmp_path_factory.mktemp("straight"))


@on_posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_is_ended_from_outside_goes_on_to_the_same_end(
    clips: ClipCache, straight: Trained, tmp_path: Path, number: signal.Signals
) -> None:
    ended = tmp_path / "ended"
    child = processes().Process(target=train_until_told, args=(clips, ended, KEYS))
    child.start()
    while len(checkpoints_in(ended / "checkpoints")) < 2 and child.is_alive():
        time.sleep(0.01)
    os.kill(child.pid or 0, number)
    child.join()
    assert child.exitcode == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert not (ended / "result.json").exists()
    gone_on = train(make_config(KEYS), pocket(), clips, ended, resume=True)
    for expert, file in straight.files.items():
        one, other = load_file(file), load_file(gone_on.files[expert])
        assert all(torch.equal(one[name], other[name]) for name in one)
