"""The walk through ComfyUI's sampling: what core's samplers make of the same model, noise and sigmas."""

from __future__ import annotations

from dataclasses import replace

import native
import nodes
import pytest
import torch
from comfy_extras import nodes_custom_sampler as custom
from native import relative_error
from sampling import (
    CLOSE,
    NEGATIVE,
    POSITIVE,
    SEED,
    SHIFT,
    STEPS,
    SWITCH,
    Latent,
    assert_same,
    core_advanced,
    core_custom,
    core_pair,
    empty,
    ours,
    shifted,
    video,
)
from wanloom.lora_core import RequestError, RunSettings, flow_sigmas
from wanloom.nodes.load import SplitWanModel, paired
from wanloom.nodes.sockets import WanModelHandle, model_of

as_in_a_node = native.as_in_a_node


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> native.Host:
    return native.Host(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def single(host: native.Host) -> WanModelHandle:
    return paired(host.model(), None, "test")


@pytest.fixture(scope="module")
def pair(host: native.Host) -> WanModelHandle:
    return paired(host.model(seed=0), host.model(seed=1), "test")


# ------------------------------------------------------------------------------------------ core's samplers


@pytest.mark.parametrize("cfg", [1.0, 3.5])
@pytest.mark.parametrize("latent", [empty(), video()], ids=["empty", "video"])
def test_one_expert_gives_what_sampler_custom_advanced_gives(
    single: WanModelHandle, latent: Latent, cfg: float
) -> None:
    found = ours(single, latent, cfg_low=cfg, negative=NEGATIVE)
    for output, expected in zip(found, core_custom(single.low_noise, latent, cfg), strict=True):
        assert_same(output, expected)


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (3.5, 1.0), (3.5, 2.5)])
def test_a_pair_gives_what_two_ksampler_advanced_give(pair: WanModelHandle, cfg: tuple[float, float]) -> None:
    found, denoised = ours(pair, cfg_high=cfg[0], cfg_low=cfg[1], negative=NEGATIVE)
    assert_same(found, core_pair(pair, empty(), cfg))
    assert_same(denoised, found)


def test_without_guidance_no_negative_prompt_is_needed(pair: WanModelHandle) -> None:
    assert torch.equal(ours(pair)[0]["samples"], ours(pair, negative=NEGATIVE)[0]["samples"])
    with pytest.raises(RequestError, match=r"cfg 2 without a negative prompt"):
        ours(pair, cfg_low=2.0)


def test_a_batch_has_cores_noise_and_one_of_its_videos_can_be_made_again(single: WanModelHandle) -> None:
    batch = {"samples": torch.zeros(3, 16, 2, 6, 4)}
    found = ours(single, batch)[0]
    assert_same(found, core_custom(single.low_noise, batch)[0])
    third = ours(single, empty(batch_index=[2]))[0]["samples"]
    assert relative_error(third, found["samples"][2:]) < CLOSE


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_every_seed_gives_cores_noise(single: WanModelHandle, seed: int) -> None:
    expected = core_advanced(single.low_noise, empty(), noise_seed=seed)
    assert_same(ours(single, seed=seed)[0], expected)


def test_denoise_below_1_starts_from_the_latent_as_cores_ksampler_does(pair: WanModelHandle) -> None:
    expected = nodes.KSampler().sample(
        shifted(pair.low_noise), SEED, 4, 2.0, "euler", "simple", POSITIVE, NEGATIVE, video(), denoise=0.5
    )[0]
    found = ours(pair, video(), steps=4, denoise=0.5, cfg_high=2.0, cfg_low=2.0, negative=NEGATIVE)[0]
    assert_same(found, expected)


@pytest.mark.parametrize("end", [2, SWITCH, 6])
@pytest.mark.parametrize("start", [empty(), video()], ids=["empty", "video"])
def test_a_run_may_be_made_in_two_parts(pair: WanModelHandle, start: Latent, end: int) -> None:
    first = ours(pair, start, end_at_step=end, return_with_leftover_noise="enable")[0]
    second = ours(pair, first, start_at_step=end, add_noise="disable")[0]
    assert_same(second, ours(pair, start)[0])


def test_ours_and_cores_sampler_go_on_with_each_others_leftover_noise(pair: WanModelHandle) -> None:
    expected = core_pair(pair, empty())
    first = ours(pair, end_at_step=SWITCH, return_with_leftover_noise="enable")[0]
    assert_same(first, core_advanced(pair.high_noise, empty(), end_at_step=SWITCH, return_with_leftover_noise="enable"))
    assert_same(core_advanced(pair.low_noise, first, start_at_step=SWITCH, add_noise="disable"), expected)
    assert_same(ours(pair, first, start_at_step=SWITCH, add_noise="disable")[0], expected)


def test_a_part_that_ends_early_is_denoised_all_the_way_unless_noise_is_wanted(pair: WanModelHandle) -> None:
    found = ours(pair, end_at_step=3)[0]
    assert_same(found, core_advanced(pair.high_noise, empty(), end_at_step=3))


def test_a_part_after_the_last_step_returns_the_latent(pair: WanModelHandle) -> None:
    latent = video()
    assert ours(pair, latent, start_at_step=STEPS)[0] is latent


def test_what_else_the_latent_holds_stays_but_how_to_resize_it_does_not(single: WanModelHandle) -> None:
    found, denoised = ours(single, empty(batch_index=[0], downscale_ratio_spacial=8, downscale_ratio_temporal=4))
    assert found.keys() == denoised.keys() == {"samples", "batch_index"}


@pytest.mark.parametrize("latent", [{"samples": torch.zeros(1, 4, 2, 6, 4)}, {"samples": torch.zeros(1, 16, 6, 4)}])
def test_an_empty_latent_of_another_family_is_made_to_fit_as_core_does(single: WanModelHandle, latent: Latent) -> None:
    assert_same(ours(single, latent)[0], core_custom(single.low_noise, latent)[0])


# ------------------------------------------------------------------------------------------ solvers


@pytest.mark.parametrize("solver", ["dpmpp_2m", "lcm", "unipc", "euler"])
def test_every_solver_runs_on_both_experts_and_says_what_it_denoised(pair: WanModelHandle, solver: str) -> None:
    found, denoised = ours(pair, solver=solver)
    assert found["samples"].isfinite().all()
    assert relative_error(denoised["samples"], found["samples"]) < CLOSE  # the last step ends at noise level 0
    assert torch.equal(ours(pair, solver=solver)[0]["samples"], found["samples"])


def test_lcm_adds_the_noise_that_cores_lcm_adds(single: WanModelHandle) -> None:
    assert_same(ours(single, video(), solver="lcm")[0], core_advanced(single.low_noise, video(), sampler_name="lcm"))


# ------------------------------------------------------------------------------------------ taken apart


def test_the_models_of_split_wan_model_give_in_cores_samplers_what_ours_gives(pair: WanModelHandle) -> None:
    model = replace(pair, settings=RunSettings(num_steps=STEPS, shift=SHIFT))
    high, low, sigmas_high, sigmas_low, switch = SplitWanModel.execute(model).args
    assert switch == SWITCH
    assert torch.equal(torch.cat([sigmas_high, sigmas_low[1:]]), torch.tensor(flow_sigmas(STEPS, SHIFT)))
    expected = ours(model)[0]
    split = model_of(pair.spec, low, high)
    assert_same(core_pair(split, empty()), expected)
    noisy = core_custom(high, empty(), sigmas=sigmas_high)[0]
    assert_same(core_custom(low, noisy, sigmas=sigmas_low, noise=custom.Noise_EmptyNoise())[0], expected)
