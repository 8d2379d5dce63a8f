"""ComfyUI's own context windows with our stacks, sampler and radial attention: 33 frames in windows of 17."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import native
import node_helpers
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_context_windows import ContextWindowsManualNode, WanContextWindowsManualNode
from native import relative_error
from sampling import SHIFT, core_custom, core_pair, ours
from torch import Tensor
from wanloom.lora_core import LoraStack, RunSettings
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes import bridge
from wanloom.nodes.bake import BakeLoraStack
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel, SplitWanModel, paired
from wanloom.nodes.radial import RadialAttention
from wanloom.nodes.sockets import WanModelHandle, model_of
from wanloom.nodes.stack_on_model import with_more
from wanloom.nodes.stack_on_models import LoraStackOnModels

as_in_a_node = native.as_in_a_node
STEPS, SWITCH = 8, 4
FRAMES, WINDOW = 9, 5  # latent: 33 and 17 frames
CLOSE = 1e-4
USUAL = {"decay": "usual", "first_steps": "2", "last_steps": "1", "first_blocks": "1", "executor": "auto"}


@pytest.fixture(scope="module")
def pocket() -> tuple[WanModelHandle, Any]:
    with torch.inference_mode():
        model, clip, _ = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args
        text = clip.encode_from_tokens_scheduled(clip.tokenize("a zibbo moves right on a striped background"))
    return model, text


@pytest.fixture(scope="module")
def model(pocket: tuple[WanModelHandle, Any]) -> WanModelHandle:
    return pocket[0]


@pytest.fixture(scope="module")
def text(pocket: tuple[WanModelHandle, Any]) -> Any:
    return pocket[1]


def in_windows(model: ModelPatcher, *, freenoise: bool = False, schedule: str = "standard_uniform") -> ModelPatcher:
    """Put the host's node for Wan on a MODEL: windows of 17 frames that share 8."""
    return WanContextWindowsManualNode.execute(model, 17, 8, schedule, 1, False, "pyramid", freenoise).args[0]


def windowed(model: WanModelHandle, **options: Any) -> WanModelHandle:
    """Return the model paired anew of MODELs with windows, as PairWanModels makes it."""
    return paired(in_windows(model.high_noise, **options), in_windows(model.low_noise, **options), "test")


def dressed(model: WanModelHandle, **row: Any) -> WanModelHandle:
    stack = LoraStack().add(pocket_lora("zibbo_character", "high_noise"), 1.2, **row)
    return model.with_loras(with_more(model, stack))


def long() -> dict[str, Any]:
    return {"samples": torch.zeros(1, 16, FRAMES, 8, 8)}


def sampled(model: WanModelHandle, text: Any, **options: Any) -> Tensor:
    return ours(model, long(), positive=text, negative=text, steps=STEPS, shift=SHIFT, **options)[0]["samples"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int, tuple[float, ...]]]:
    """The noise level, the frames and the strengths of each call of a network with LoRAs."""
    found: list[tuple[float, int, tuple[float, ...]]] = []
    call = bridge.AtWork.__call__

    def watched(self: bridge.AtWork, executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = call(self, executor, x, t, *args, **kwargs)
        found.append((float(t[0]), x.shape[2], tuple(self.stack.strengths.values)))
        return out

    monkeypatch.setattr(bridge.AtWork, "__call__", watched)
    return found


@pytest.mark.parametrize(("cfg", "freenoise"), [((1.0, 1.0), False), ((3.5, 2.0), True)])
def test_sampler_6_step_gives_what_two_ksamplers_give(
    model: WanModelHandle, text: Any, cfg: tuple[float, float], freenoise: bool
) -> None:
    """Both with a stack: ours on MODELs that were paired, the host's on those of SplitWanModel."""
    inside = dressed(windowed(model, freenoise=freenoise), schedule="fade_out@steps")
    found = sampled(inside, text, cfg_high=cfg[0], cfg_low=cfg[1])
    planned = replace(inside, settings=RunSettings(num_steps=STEPS, shift=SHIFT), is_routed=True)
    high, low = SplitWanModel.execute(planned).args[:2]
    options = {"positive": text, "negative": text, "steps": STEPS}
    expected = core_pair(model_of(model.spec, low, high), long(), cfg, SWITCH, **options)["samples"]
    assert relative_error(found, expected) < CLOSE
    assert relative_error(found, sampled(dressed(model, schedule="fade_out@steps"), text)) > 0.01


def test_windows_may_come_behind_the_stack(model: WanModelHandle, text: Any) -> None:
    planned = replace(dressed(model), settings=RunSettings(num_steps=STEPS, shift=SHIFT), is_routed=True)
    expected = sampled(dressed(windowed(model)), text)
    rows = f'[{{"path": {json.dumps(str(pocket_lora("zibbo_character", "high_noise")))}, "weight": 1.2}}]'
    lone = LoraStackOnModels.execute(high_noise=model.high_noise, low_noise=model.low_noise, loras=rows, steps=STEPS)
    for outputs in (SplitWanModel.execute(planned).args, lone.args):
        high, low = (in_windows(patcher) for patcher in outputs[:2])
        found = core_pair(model_of(model.spec, low, high), long(), switch=SWITCH, positive=text, steps=STEPS)
        assert relative_error(found["samples"], expected) < CLOSE


def test_a_stack_acts_in_every_window_as_weights_that_hold_it(model: WanModelHandle, text: Any) -> None:
    merged = BakeLoraStack.execute(model=dressed(windowed(model))).args
    expected = sampled(paired(merged[0], merged[1], "test"), text)
    assert relative_error(sampled(dressed(windowed(model)), text), expected) < CLOSE
    assert relative_error(sampled(windowed(model), text), expected) > 0.01


def test_a_schedule_has_the_strength_of_the_step_in_all_of_its_windows(
    model: WanModelHandle, text: Any, calls: list[tuple[float, int, tuple[float, ...]]]
) -> None:
    inside = dressed(windowed(model, schedule="standard_static"), schedule="fade_out@steps")
    sampled(inside, text)
    plan = inside.plan(RunSettings(num_steps=STEPS, shift=SHIFT))
    assert len({step.strengths for step in plan.steps}) == STEPS
    for step in plan.steps:
        here = [(frames, strengths) for sigma, frames, strengths in calls if abs(sigma - step.sigma) < 1e-4]
        # Frames 0 to 4, 3 to 7 and 4 to 8; windows that begin later bring the frame before them along.
        assert [frames for frames, _ in here] == [WINDOW, WINDOW + 1, WINDOW + 1]
        assert all(strengths == pytest.approx(step.strengths, abs=1e-6) for _, strengths in here)


def test_radial_attention_has_the_geometry_of_each_window(model: WanModelHandle, text: Any) -> None:
    told: list[str] = []
    inside = RadialAttention.execute(model=windowed(model, schedule="standard_static"), **USUAL).args[0]
    found = sampled(replace(inside, radial=replace(inside.radial, tell=told.append)), text)
    num_blocks, num_windows = model.spec.num_blocks, 3
    num_all, num_radial = STEPS * num_blocks * num_windows, (STEPS - 3) * (num_blocks - 1) * num_windows
    assert f"radial attention: {num_radial} of {num_all} self-attentions were radial" in told[-1]
    assert "of the pairs of 5 latent frames are kept" in told[-1]
    assert "of the pairs of 6 latent frames are kept" in told[-1]
    assert "of 9 latent frames" not in told[-1]
    masked = RadialAttention.execute(
        model=windowed(model, schedule="standard_static"), **USUAL | {"executor": "masked"}
    )
    assert relative_error(found, sampled(masked.args[0], text)) < CLOSE
    assert relative_error(found, sampled(windowed(model, schedule="standard_static"), text)) > 10 * CLOSE


def test_radial_attention_and_windows_on_a_model_come_in_either_order(model: WanModelHandle, text: Any) -> None:
    radial = RadialAttention.execute(model=in_windows(model.low_noise), **USUAL).args[0]
    behind = in_windows(RadialAttention.execute(model=model.low_noise, **USUAL).args[0])
    first, second = (core_custom(one, long(), positive=text, negative=text)[0]["samples"] for one in (radial, behind))
    assert torch.equal(first, second)


def test_a_picture_is_told_to_every_window(text: Any) -> None:
    """The image model's further channels are cut into windows as well, the picture kept at the head of each."""
    with torch.inference_mode():
        model = LoadWanModel.execute("pocket I2V (built in)", AUTO, NONE, NONE, "default").args[0]
    picture = torch.randn(1, 16, FRAMES, 8, 8, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(1, 1, FRAMES, 8, 8)
    mask[:, :, :1] = 0
    told = node_helpers.conditioning_set_values(text, {"concat_latent_image": picture, "concat_mask": mask})
    inside = paired(
        *(
            WanContextWindowsManualNode.execute(one, 17, 8, "standard_static", 1, False, "pyramid", False, True).args[0]
            for one in (model.high_noise, model.low_noise)
        ),
        "test",
    )
    dense = sampled(inside, told)
    radial = RadialAttention.execute(model=inside, **USUAL).args[0]
    found = sampled(radial, told)
    planned = replace(radial, settings=RunSettings(num_steps=STEPS, shift=SHIFT), is_routed=True)
    high, low, _, _, switch = SplitWanModel.execute(planned).args
    options = {"positive": told, "negative": told, "steps": STEPS}
    expected = core_pair(model_of(model.spec, low, high), long(), (1.0, 1.0), switch, **options)["samples"]
    assert relative_error(found, expected) < CLOSE
    assert relative_error(found, dense) > 10 * CLOSE
    assert relative_error(sampled(inside, text), dense) > 0.01  # the picture says something


def test_the_hosts_other_node_works_too(model: WanModelHandle, text: Any) -> None:
    """The one for any model, with its windows counted in latent frames along an axis."""
    high, low = (
        ContextWindowsManualNode.execute(patcher, WINDOW, 2, "standard_uniform", 1, False, "pyramid", 2, False).args[0]
        for patcher in (model.high_noise, model.low_noise)
    )
    found = sampled(dressed(paired(high, low, "test")), text)
    assert relative_error(found, sampled(dressed(windowed(model)), text)) < CLOSE
