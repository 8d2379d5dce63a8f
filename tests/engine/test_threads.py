"""Threads: what several of them make is what each would have made alone, or all but one are told at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import tiny
import torch
from tiny_loras import save_lora
from torch import nn

from lora_core.apply.attachment import attach
from lora_core.deltas import Full
from lora_core.engine.generator import WanVideoGenerator
from lora_core.errors import StackError

SMALL = {"num_frames": 5, "height": 16, "width": 16, "num_steps": 4}
NUM_THREADS = 6


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> tiny.TinyFiles:
    return tiny.save_files(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("offload", ["none", "experts"])
def test_one_generator_makes_in_threads_what_it_makes_alone(
    model_files: tiny.TinyFiles, tmp_path: Path, offload: str
) -> None:
    generator = WanVideoGenerator(model_files.high, **model_files.arguments(), offload=offload)
    generator.load_specialized_lora(save_lora(tmp_path / "a.safetensors"), applies_to="both")

    def make(seed: int) -> torch.Tensor:
        return generator.generate_video("a red circle", seed=seed, **SMALL).latents

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        together = list(pool.map(make, range(NUM_THREADS)))
    alone = [make(seed) for seed in range(NUM_THREADS)]
    assert all(map(torch.equal, together, alone))


def test_loras_loaded_in_threads_are_all_there(model_files: tiny.TinyFiles, tmp_path: Path) -> None:
    generator = WanVideoGenerator(model_files.high, **model_files.arguments())
    files = [save_lora(tmp_path / f"{number}.safetensors", number) for number in range(12)]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(generator.load_specialized_lora, files))
    assert sorted(entry.name for entry in generator.stack) == sorted(file.stem for file in files)


OPENED_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
start = Barrier(4)

def make(_):
    start.wait()
    from lora_core import WanVideoGenerator
    video = WanVideoGenerator("pocket").generate_video("a red circle", num_frames=5, num_steps=2, seed=3)
    return video.record["latents_sha256"]

with ThreadPoolExecutor(4) as pool:
    assert len(set(pool.map(make, range(4)))) == 1
"""


def test_generators_are_opened_in_several_threads_of_a_fresh_program() -> None:
    ended = subprocess.run([sys.executable, "-c", OPENED_AT_ONCE], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_of_stacks_attached_in_threads_one_is_attached_and_the_others_refused() -> None:
    network, start = nn.Sequential(*(nn.Linear(4, 4) for _ in range(200))), Barrier(NUM_THREADS)
    deltas = {f"{index}": Full(torch.ones(4, 4)) for index in range(200)}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def try_to_attach(number: int) -> bool:
        start.wait()
        try:
            attached.append(attach(network, [Acting(deltas)]))
        except StackError as error:
            assert "a stack is attached already" in str(error)  # noqa: PT017  # the others' way to end
            return False
        return True

    for _ in range(5):
        attached: list[object] = []
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            assert sum(pool.map(try_to_attach, range(NUM_THREADS))) == 1
        attached[0].detach()
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
        assert all("forward" not in vars(part) for part in network.modules())


class Acting:
    """A LoRA as attaching needs it."""

    name, strength = "a", 1.0

    def __init__(self, deltas: dict[str, Full]) -> None:
        self.deltas, self.factors = deltas, {}
