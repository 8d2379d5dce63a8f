"""LoRAs in a part of the clip, on ComfyUI's models: as headless with the same masks, whatever else is on the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lora_kinds
import native
import numpy as np
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_context_windows import WanContextWindowsManualNode
from native import NARROW, WIDE, bound, predict, relative_error, routed, spec_of
from sampling import NEGATIVE, POSITIVE, SEED, SHIFT, STEPS, core_pair, ours
from torch import Tensor
from wanloom.lora_core import (
    Condition,
    LoraStack,
    ModelError,
    RunSettings,
    StackError,
    WanModel,
    draw_noise,
    load_stack,
    open_wan,
    sample,
)
from wanloom.lora_core.apply.attachment import attach
from wanloom.lora_core.regions.clip_mask import ClipSize, clip_masks
from wanloom.lora_core.stack.region import Region
from wanloom.lora_core.stack.time_curve import TimeCurve
from wanloom.nodes import bridge
from wanloom.nodes.bake import BakeLoraStack
from wanloom.nodes.load import SplitWanModel, paired
from wanloom.nodes.sample import Sampler6Step
from wanloom.nodes.sockets import WanModelHandle, model_of

as_in_a_node = native.as_in_a_node
host = native.host

#: What `native.start` gives a network: 2 latent frames of 6x4.
CLIP = ClipSize(5, 48, 32, 16.0)
KINDS: dict[str, Callable[..., dict[str, Tensor]]] = {**lora_kinds.FILES, **lora_kinds.BEYOND_CORE}
CLOSE = 1e-4


def everything(path: Path, size: Any = WIDE, seed: int = 0) -> Path:
    """Write a LoRA on every layer, the norms and the tables."""
    layers = lora_kinds.layer_tensors(lora_kinds.lora, size, seed)
    return lora_kinds.save(path, layers | lora_kinds.norm_tensors(size) | lora_kinds.table_tensors(size))


def headless(patcher: ModelPatcher, stack: LoraStack, **told: Tensor) -> Tensor:
    """Return what the same network predicts under `attach`, without the host's ways to change weights."""
    loras, spec = routed(patcher, stack), spec_of(patcher)
    native.unload()
    with attach(patcher.model.diffusion_model, loras, spec, masks=clip_masks(loras, CLIP, spec)):
        return predict(patcher, **told)


# ------------------------------------------------------------------------------------------------- one call


@pytest.mark.parametrize(("kind", "size"), [*((kind, WIDE) for kind in KINDS), ("LoRA", NARROW)])
def test_a_masked_lora_of_every_kind_acts_as_headless_beside_a_plain_one(
    host: native.Host, tmp_path: Path, kind: str, size: native.WanSize
) -> None:
    model = host.model(size)
    masked = lora_kinds.save(tmp_path / "masked.safetensors", KINDS[kind](size))
    plain = lora_kinds.save(tmp_path / "plain.safetensors", lora_kinds.layer_tensors(lora_kinds.dora, size, 3))
    base, unmasked = predict(model), LoraStack().add(plain, 0.4)
    stack = unmasked.add(masked, 0.7, region="left", over_time="0f=0.2,4f=1")
    expected = headless(model, stack)
    assert relative_error(expected, predict(bound(model, unmasked))) > 0.005
    assert relative_error(predict(bound(model, stack)), expected) < 1e-5
    assert torch.equal(predict(model), base)


@pytest.mark.parametrize("image_branch", [False, True], ids=["its latents", "and what CLIP sees of it"])
def test_a_picture_rides_along_with_masked_loras(host: native.Host, tmp_path: Path, image_branch: bool) -> None:
    size = replace(WIDE, in_channels=36, image_branch=image_branch)
    model, stack = host.model(size), LoraStack()
    for seed, place in enumerate(("left", "right")):
        stack = stack.add(everything(tmp_path / f"{place}.safetensors", size, seed), 0.7, region=place)
    told = {"c_concat": native.start(20)}
    if image_branch:
        told["clip_fea"] = torch.randn(1, 257, 1280, generator=torch.Generator().manual_seed(4))
    expected = headless(model, stack, **told)
    assert relative_error(predict(bound(model, stack), **told), expected) < 1e-5
    assert relative_error(predict(model, **told), expected) > 0.005


def test_no_mask_changes_nothing_and_all_of_one_is_the_whole_lora(host: native.Host, tmp_path: Path) -> None:
    model, file = host.model(), everything(tmp_path / "lora.safetensors")
    ones, zeros = (Region(pixels=np.full((1, 8, 8), number, np.float32)) for number in (1, 0))
    plain = bound(model, LoraStack().add(file, 0.7))
    assert bridge.stack_on(plain).stack.masked is None
    assert relative_error(predict(bound(model, LoraStack().add(file, 0.7, region=ones))), predict(plain)) < 1e-5
    assert torch.equal(predict(bound(model, LoraStack().add(file, 0.7, region=zeros))), predict(model))


def test_another_mask_loads_nothing_again(host: native.Host, tmp_path: Path) -> None:
    model, file = host.model(), everything(tmp_path / "lora.safetensors")
    left, right = (bound(model, LoraStack().add(file, 0.7, region=place)) for place in ("left", "right"))
    assert left.patches_uuid == right.patches_uuid
    assert left.patches_uuid != bound(model, LoraStack().add(file, 0.7)).patches_uuid
    assert left.model_size() > model.model_size()
    found = [predict(patcher) for patcher in (left, right, right, left)]
    for place, first, second in (("left", 0, 3), ("right", 1, 2)):
        assert torch.equal(found[first], found[second])
        assert relative_error(found[first], headless(model, LoraStack().add(file, 0.7, region=place))) < 1e-5
    del left, right
    native.unload()
    assert not [name for name, module in model.model.diffusion_model.named_modules() if "forward" in vars(module)]


def test_latents_that_are_no_clip_are_refused(host: native.Host, tmp_path: Path) -> None:
    stack = LoraStack().add(everything(tmp_path / "lora.safetensors"), region="left")
    at_work = bridge.stack_on(bound(host.model(), stack))
    with pytest.raises(ModelError, match="a region or a time on latents of 1x16x8x8"):
        at_work.masks.of(torch.zeros(1, 16, 8, 8), {})


# ------------------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    models = {name: native.save_model(folder / f"{name}.safetensors", seed=i) for i, name in enumerate(("high", "low"))}
    loras = {name: everything(folder / f"{name}.safetensors", seed=i) for i, name in enumerate(("first", "second"), 5)}
    return models | loras


@pytest.fixture(scope="module")
def model(files: dict[str, Path]) -> WanModelHandle:
    opener = native.Host(files["high"].parent)
    return paired(opener.open(files["high"]), opener.open(files["low"]), "test")


@pytest.fixture(scope="module")
def rows(files: dict[str, Path]) -> LoraStack:
    """Two LoRAs on both experts, side by side and one of them later, and one of them on a schedule too."""
    both = {"applies_to": "both"}
    stack = LoraStack().add(files["first"], 0.7, region="left", schedule="fade_out", **both)
    return stack.add(files["second"], 0.6, region="right", over_time="from frame 5", **both)


def dressed(model: WanModelHandle, rows: LoraStack) -> WanModelHandle:
    return model.with_loras(load_stack(rows, model.spec))


def latents(num_frames: int = 3) -> dict[str, Any]:
    return {"samples": torch.zeros(1, 16, num_frames, 6, 4)}


def in_windows(patcher: ModelPatcher) -> ModelPatcher:
    return WanContextWindowsManualNode.execute(patcher, 17, 8, "standard_static", 1, False, "pyramid", False).args[0]


@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_both_engines_give_the_same_latents(
    files: dict[str, Path], model: WanModelHandle, rows: LoraStack, cfg: float
) -> None:
    pytest.importorskip("diffusers", reason="diffusers, whose networks lora_core runs, is not installed")
    inside = dressed(model, rows)
    found = ours(inside, latents(), cfg_high=cfg, negative=NEGATIVE)[0]["samples"]
    plan = inside.plan(RunSettings(num_steps=STEPS, shift=SHIFT, cfg=(cfg, 1.0)))
    network: WanModel = open_wan(files["high"], low_noise=files["low"], dtype=torch.float32)
    masks = clip_masks(plan.route.all, ClipSize(9, 48, 32, 16.0), model.spec)
    condition = Condition(POSITIVE[0][0], NEGATIVE[0][0])
    expected = sample(network, plan, draw_noise((1, 16, 3, 6, 4), SEED), condition, seed=SEED, masks=masks)
    assert relative_error(found, expected) < CLOSE
    assert relative_error(found, ours(model, latents(), cfg_high=cfg, negative=NEGATIVE)[0]["samples"]) > 0.01


def test_ksamplers_on_the_split_model_give_the_same(model: WanModelHandle, rows: LoraStack) -> None:
    inside = dressed(model, rows)
    planned = replace(inside, settings=RunSettings(num_steps=STEPS, shift=SHIFT), is_routed=True)
    high, low, _, _, switch = SplitWanModel.execute(planned).args
    expected = core_pair(model_of(model.spec, low, high), latents(), switch=switch)["samples"]
    assert relative_error(ours(inside, latents())[0]["samples"], expected) < CLOSE


def test_each_context_window_has_the_masks_of_its_own_frames(
    model: WanModelHandle, rows: LoraStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine latent frames in windows of five: 0 to 4, 3 to 7 and 4 to 8, the later ones with the frame before them."""
    told: dict[int, list[list[float]]] = {}
    of = bridge.CallMasks.of

    def watched(self: Any, x: Tensor, options: Any) -> Any:
        masks = of(self, x, options)
        window = options["context_window"]
        told.setdefault(window.index_list[0], []).append([round(float(frame.max()), 2) for frame in masks["1"]])
        return masks

    monkeypatch.setattr(bridge.CallMasks, "of", watched)
    later = replace(rows["second"], region=None, over_time=TimeCurve.parse("from frame 17; hard"))
    stack = rows.replace("second", later)
    inside = paired(in_windows(model.high_noise), in_windows(model.low_noise), "test")
    ours(dressed(inside, stack), latents(9))
    # Frame 17 is the first of latent frame 5.
    assert {start: masks[0] for start, masks in told.items()} == {
        0: [0, 0, 0, 0, 0],
        3: [0, 0, 0, 1, 1, 1],
        4: [0, 0, 1, 1, 1, 1],
    }


def test_weights_cannot_hold_a_region(model: WanModelHandle, rows: LoraStack) -> None:
    inside = dressed(model, rows)
    with pytest.raises(StackError, match="first has a region or a time, which no weights can hold"):
        BakeLoraStack.execute(model=inside)
    planned = replace(inside, settings=RunSettings(num_steps=STEPS, shift=SHIFT), is_routed=True)
    with pytest.raises(StackError, match="which no weights can hold"):
        BakeLoraStack.execute(model=SplitWanModel.execute(planned).args[0])


def test_the_sampler_tells_of_a_mask_that_is_black(model: WanModelHandle, rows: LoraStack) -> None:
    black = rows.replace("first", replace(rows["first"], region=Region(pixels=np.zeros((1, 8, 8), np.float32))))
    options: dict[str, Any] = {"positive": POSITIVE, "seed": SEED, "steps": STEPS, "shift": SHIFT, "boundary": "auto"}
    options |= {"cfg_high": 1.0, "cfg_low": 1.0, "solver": "euler", "denoise": 1.0}
    output = Sampler6Step.execute(model=dressed(model, black), latent=latents(), **options)
    assert "first: its mask is black everywhere, so it does nothing" in " ".join(output.ui["text"][0].split())
