"""The seeded noise: the same numbers as the two hosts draw."""

import pytest
import torch

from lora_core.sampling.noise import MAX_SEED, NoiseStream, draw_noise

SHAPE = (1, 16, 3, 8, 8)


@pytest.mark.parametrize("seed", [0, 7, 2**32, MAX_SEED])
def test_noise_is_what_comfyui_draws(seed):
    state = torch.random.get_rng_state()
    expected = torch.randn(SHAPE, dtype=torch.float32, generator=torch.manual_seed(seed), device="cpu")
    torch.random.set_rng_state(state)
    assert torch.equal(draw_noise(SHAPE, seed), expected)


def test_noise_is_what_diffusers_draws():
    from diffusers.utils.torch_utils import randn_tensor

    assert torch.equal(draw_noise(SHAPE, 7), randn_tensor(SHAPE, generator=torch.Generator("cpu").manual_seed(7)))


def test_drawing_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    draw_noise(SHAPE, 1)
    NoiseStream(SHAPE, 1)()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_stream_repeats_from_its_seed_and_never_repeats_the_starting_noise():
    first, second = NoiseStream(SHAPE, 7), NoiseStream(SHAPE, 7)
    a, b = first(), first()
    assert torch.equal(a, second())
    assert not torch.equal(a, b)
    assert not torch.equal(a, draw_noise(SHAPE, 7))
    NoiseStream(SHAPE, MAX_SEED)()
