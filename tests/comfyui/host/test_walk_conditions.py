"""What latents and conditioning carry, on the walk: pictures, masks, areas, hooks, as core's samplers honour them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import comfy.hooks
import lora_kinds
import native
import pytest
import torch
from native import WIDE, relative_error
from sampling import CLOSE, NEGATIVE, assert_same, core_custom, core_pair, empty, ours, prompt, video
from wanloom.nodes.load import paired
from wanloom.nodes.sockets import WanModelHandle

as_in_a_node = native.as_in_a_node
IMAGE_TO_VIDEO = replace(WIDE, in_channels=36)
TEXT_IMAGE_TO_VIDEO = replace(WIDE, in_channels=48, out_channels=48)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> native.Host:
    return native.Host(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def single(host: native.Host) -> WanModelHandle:
    return paired(host.model(), None, "test")


@pytest.fixture(scope="module")
def pair(host: native.Host) -> WanModelHandle:
    return paired(host.model(seed=0), host.model(seed=1), "test")


@pytest.fixture(scope="module")
def twins(host: native.Host) -> WanModelHandle:
    """Two experts of the same weights: together they do what one does."""
    return paired(host.model(seed=0), host.model(seed=0), "test")


def mask() -> torch.Tensor:
    """Return a noise mask that keeps the first latent frame and the left half of the second."""
    kept = torch.ones(1, 1, 2, 6, 4)
    kept[:, :, 0] = 0
    kept[:, :, 1, :, :2] = 0
    return kept


# ------------------------------------------------------------------------------------------ masks


@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_a_noise_mask_acts_as_in_core(single: WanModelHandle, cfg: float) -> None:
    latent = video(noise_mask=mask())
    found = ours(single, latent, cfg_low=cfg, negative=NEGATIVE)
    for output, expected in zip(found, core_custom(single.low_noise, latent, cfg), strict=True):
        assert_same(output, expected)


def test_what_a_noise_mask_keeps_is_kept_across_the_switch(single: WanModelHandle, twins: WanModelHandle) -> None:
    latent = video(noise_mask=mask())
    found, denoised = ours(twins, latent)
    kept = mask().expand(1, 16, 2, 6, 4) == 0
    assert relative_error(found["samples"][kept], latent["samples"][kept]) < CLOSE
    expected = core_custom(single.low_noise, latent)
    assert_same(found, expected[0])
    assert_same(denoised, expected[1])


# ------------------------------------------------------------------------------------------ pictures


@pytest.fixture(scope="module")
def image_pair(host: native.Host) -> WanModelHandle:
    model = paired(
        *(host.open(native.save_model(host.folder / f"i2v_{i}.safetensors", IMAGE_TO_VIDEO, i)) for i in (0, 1)), "test"
    )
    assert model.spec.image_conditioned
    return model


PICTURE = {
    "concat_latent_image": native.start(),
    "concat_mask": torch.cat([torch.zeros(1, 1, 1, 6, 4), torch.ones(1, 1, 1, 6, 4)], dim=2),
}


@pytest.mark.parametrize(
    "options", [{}, PICTURE, {"concat_latent_image": native.start()}], ids=["none", "both", "image"]
)
def test_a_picture_in_the_conditioning_acts_as_in_core(image_pair: WanModelHandle, options: dict[str, object]) -> None:
    conds = {"positive": prompt(1, **options), "negative": prompt(2, **options)}
    found = ours(image_pair, cfg_high=2.0, cfg_low=1.5, **conds)[0]
    assert_same(found, core_pair(image_pair, empty(), (2.0, 1.5), switch=3, **conds))
    if options:
        assert relative_error(ours(image_pair)[0]["samples"], found["samples"]) > 0.01


def test_clip_vision_output_acts_as_in_core(host: native.Host) -> None:
    size = replace(IMAGE_TO_VIDEO, image_branch=True)
    model = paired(host.open(native.save_model(host.folder / "i2v_2.1.safetensors", size)), None, "test")
    features = torch.randn(1, 257, 1280, generator=torch.Generator().manual_seed(4))
    positive = prompt(1, clip_vision_output=SimpleNamespace(penultimate_hidden_states=features), **PICTURE)
    found = ours(model, positive=positive)[0]
    assert_same(found, core_custom(model.low_noise, empty(), positive=positive)[0])
    without = ours(model, positive=prompt(1, **PICTURE))[0]
    assert relative_error(without["samples"], found["samples"]) > 0.001


@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_5b_keeps_the_first_frame_as_in_core(host: native.Host, cfg: float) -> None:
    model = paired(host.open(native.save_model(host.folder / "5b.safetensors", TEXT_IMAGE_TO_VIDEO)), None, "test")
    assert type(model.low_noise.model).__name__ == "WAN22"
    first_frame = torch.ones(1, 1, 2, 6, 4)
    first_frame[:, :, 0] = 0
    latent = video(48, noise_mask=first_frame)
    found = ours(model, latent, cfg_low=cfg, negative=NEGATIVE)
    for output, expected in zip(found, core_custom(model.low_noise, latent, cfg), strict=True):
        assert_same(output, expected)
    assert relative_error(found[0]["samples"][:, :, 0], latent["samples"][:, :, 0]) < CLOSE


# ------------------------------------------------------------------------------------------ conditioning

CONDITIONS = {
    "two prompts": [*prompt(1), *prompt(3)],
    "a prompt for some of the steps": [*prompt(1, start_percent=0.0, end_percent=0.4), *prompt(3, start_percent=0.4)],
    "a strength": prompt(1, strength=0.5) + prompt(3),
    "an area": [*prompt(1, area=("percentage", 1.0, 0.5, 1.0, 0.0, 0.0, 0.0)), *prompt(3)],
    "a mask": [*prompt(1, mask=mask()[:, 0], mask_strength=1.0), *prompt(3)],
}


@pytest.mark.parametrize("positive", CONDITIONS.values(), ids=CONDITIONS)
def test_conditioning_of_several_parts_acts_as_in_core(pair: WanModelHandle, positive: list[object]) -> None:
    found = ours(pair, positive=positive, cfg_high=2.0, cfg_low=2.0, negative=NEGATIVE)[0]
    assert_same(found, core_pair(pair, empty(), (2.0, 2.0), positive=positive))
    assert relative_error(ours(pair)[0]["samples"], found["samples"]) > 0.01


def test_a_hooked_lora_in_the_conditioning_acts_as_in_core(pair: WanModelHandle) -> None:
    tensors = lora_kinds.layer_tensors(lora_kinds.lora)
    hooks = comfy.hooks.create_hook_lora(tensors, 1.0, 0.0)
    positive = [*prompt(1, hooks=hooks), *prompt(3)]
    found = ours(pair, positive=positive)[0]
    assert_same(found, core_pair(pair, empty(), positive=positive))
    assert relative_error(ours(pair, positive=[*prompt(1), *prompt(3)])[0]["samples"], found["samples"]) > 0.001
