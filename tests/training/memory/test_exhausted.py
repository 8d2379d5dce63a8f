"""A training whose memory runs out goes on by the next plan, from its last whole step."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest
import torch
from safetensors.torch import load_file
from training.pocket_clips import pocket

from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import make_config
from lora_core.training.memory.exhausted import is_out_of_memory
from lora_core.training.memory.plan import read_plan
from lora_core.training.run_folder import RunFolder
from lora_core.training.train import train

TESTS = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space of a process")
RUN_OUT = "the memory has run out after step 2; going on with "


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    from training.memory.limited import many_clips  # of Linux alone

    return many_clips(tmp_path_factory.mktemp("clips"))


def limited(clips: ClipCache, folder: Path, step: int, more: int, *settings: str) -> list[str]:
    """Run a training that may take some MiB more behind a step and is stopped after the third, and return its words."""
    # Memory is mapped for each larger tensor, and so given back with it, whatever was taken before.
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "MALLOC_MMAP_THRESHOLD_": "131072"}
    told = clips.folder / "clips.pickle"
    told.write_bytes(pickle.dumps(clips))
    command = [sys.executable, TESTS / "training/memory/limited.py", told, folder, str(step), str(more), "3", *settings]
    done = run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def plan_of(folder: RunFolder) -> str:
    """Return the plan by which the last checkpoint was made."""
    assert folder.last_checkpoint is not None
    return read_plan(folder.last_checkpoint)[0].name


@LINUX
def test_it_goes_on_with_less_and_ends_as_if_nothing_had_been(clips: ClipCache, tmp_path: Path) -> None:
    from training.memory.limited import KEYS  # of Linux alone

    said = limited(clips, tmp_path / "a", 2, 65)
    assert said == [f"{RUN_OUT}checkpointing: checkpointing = true", "3 steps are done, as [1, 2, 3]"]
    folder = RunFolder(tmp_path / "a" / "out")
    assert "checkpointing = false" in folder.config.read_text()
    assert plan_of(folder) == "checkpointing"
    asked = make_config(KEYS)
    gone_on = train(asked, pocket(), clips, folder.path, resume=True)
    assert plan_of(folder) == "checkpointing"
    undisturbed = train(asked, pocket(), clips, tmp_path / "b")
    one, other = (load_file(trained.files["low_noise"]) for trained in (gone_on, undisturbed))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@LINUX
def test_where_no_plan_helps_the_last_whole_step_is_kept_to_go_on_from(clips: ClipCache, tmp_path: Path) -> None:
    *notes, error = limited(clips, tmp_path, 2, 8, "optimizer=adafactor")
    assert [note.removeprefix(RUN_OUT).split(":")[0] for note in notes] == ["checkpointing", "fp8 base", "nf4 base"]
    assert error.startswith("error: memory: it has run out in the last plan, nf4 base: ")
    assert error.endswith(". Use fewer frames, a smaller resolution, a smaller batch or a lower rank.")
    folder = RunFolder(tmp_path / "out")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000002"]
    assert plan_of(folder) == "as asked"


@LINUX
def test_a_plan_that_was_asked_for_is_not_left(clips: ClipCache, tmp_path: Path) -> None:
    (error,) = limited(clips, tmp_path, 0, 8, "memory_plan=as_asked", 'blocks="0"')
    assert error.startswith("error: memory: it has run out in the last plan, as asked: ")


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def refused_by_the_cpu() -> None:
    torch.empty(2**61, dtype=torch.int8)


def refused_by_python() -> None:
    bytearray(2**62)


@pytest.mark.parametrize("ask", [refused_by_the_cpu, refused_by_python])
def test_what_allocators_really_say_is_known(ask: Callable[[], None]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        ask()
    assert is_out_of_memory(caught.value)
