"""What videos share: a run that goes on from the switch of another makes the bits that it makes alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lora_core.engine.generate import generate
from lora_core.engine.request import GenerationRequest
from lora_core.engine.shared import Shared
from lora_core.families.wan.open import open_wan
from lora_core.sampling.solvers import SOLVERS
from lora_core.stack.stack import LoraStack

ASKED = GenerationRequest(
    "a zibbo moves right on a plain background", num_frames=5, height=32, width=32, seed=3, num_steps=6
)


@pytest.fixture(scope="module")
def model():
    return open_wan("pocket")


def stack(low: float = 1.0, high: float = 1.0) -> LoraStack:
    return LoraStack().add("speed_6steps").add("zibbo_character", high, low_noise_strength=low)


def steps_run(video) -> int:
    return sum(name.startswith("step ") for name in video.timings)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_that_goes_on_from_the_switch_makes_the_bits_of_a_run_of_its_own(model, solver):
    request, shared = replace(ASKED, solver=solver), Shared()
    generate(model, request, stack(0.3), shared=shared)
    alone = generate(model, request, stack(0.9))
    gone_on = generate(model, request, stack(0.9), shared=shared)
    assert (steps_run(alone), steps_run(gone_on)) == (6, 3)
    assert torch.equal(alone.latents, gone_on.latents)
    assert gone_on.record["latents_sha256"] == alone.record["latents_sha256"]


@pytest.mark.parametrize(
    ("request_", "loras"),
    [
        (replace(ASKED, seed=4), stack()),
        (replace(ASKED, prompt="a zibbo moves left on a plain background"), stack()),
        (replace(ASKED, num_steps=8), stack()),
        (replace(ASKED, shift=4.0), stack()),
        (replace(ASKED, num_frames=9), stack()),
        (replace(ASKED, solver="lcm"), stack()),
        (ASKED, stack(high=0.5)),
        (ASKED, stack().without("zibbo_character")),
        (ASKED, LoraStack((replace(stack().entries[0], name="other"), *stack().entries[1:])).add("neon_style")),
    ],
    ids=["seed", "prompt", "steps", "shift", "frames", "solver", "high strength", "one LoRA less", "one LoRA more"],
)
def test_what_the_high_noise_expert_sees_is_never_taken_from_another_run(model, request_, loras):
    shared = Shared()
    generate(model, ASKED, stack(), shared=shared)
    assert steps_run(generate(model, request_, loras, shared=shared)) == request_.num_steps


def test_a_negative_prompt_that_only_the_low_noise_expert_reads_leaves_the_beginning_alone(model):
    request, shared = replace(ASKED, cfg=(1.0, 2.0)), Shared()
    generate(model, request, stack(), shared=shared)
    other = replace(request, negative_prompt="a red circle")
    gone_on = generate(model, other, stack(), shared=shared)
    assert steps_run(gone_on) == 3
    assert torch.equal(gone_on.latents, generate(model, other, stack()).latents)


def test_a_prompt_is_embedded_once(model, monkeypatch):
    asked, encode = [], type(model).encode_text
    monkeypatch.setattr(type(model), "encode_text", lambda self, text: (asked.append(text), encode(self, text))[1])
    shared = Shared()
    for seed in (1, 2):
        generate(model, replace(ASKED, seed=seed, num_steps=2), shared=shared)
    assert asked == [ASKED.prompt]


def test_one_expert_has_no_switch_to_go_on_from(model):
    shared, request = Shared(), replace(ASKED, num_steps=2, boundary=None)
    generate(model, request, shared=shared)
    assert steps_run(generate(model, request, shared=shared)) == 2
