"""Radial attention on ComfyUI's own HunyuanVideo: dense attention by its mask, text seen by all, in both its blocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import native
import pytest
import torch
import torch.nn.functional as F
from comfy.model_patcher import ModelPatcher
from families import tiny_model
from native import relative_error
from safetensors.torch import save_file
from sampling import SEED, core_custom
from torch import Tensor
from wanloom.lora_core import (
    Condition,
    ModelError,
    RadialWishes,
    RunSettings,
    draw_noise,
    flow_sigmas,
    make_controller,
    sample,
)
from wanloom.lora_core.families.hunyuan.forward import packed
from wanloom.lora_core.families.hunyuan.open import open_hunyuan
from wanloom.nodes.load import paired
from wanloom.nodes.radial import RadialAttention

as_in_a_node = native.as_in_a_node
#: 9 latent frames of 16 tokens, which is 144.
SHAPE, NUM_VIDEO = (1, 16, 9, 8, 8), 144
STEPS, SHIFT = 4, 7.0
WISHES = {"decay": "0.3", "first_steps": "1", "last_steps": "1", "first_blocks": "1", "executor": "auto"}
RADIAL_STEPS, NUM_BLOCKS = (1, 2), 4
CLOSE = 1e-4


@pytest.fixture(scope="module")
def model() -> ModelPatcher:
    """Two double and two single blocks, two heads of 32."""
    return tiny_model("HunyuanVideo")


def prompt(num_tokens: int, num_padding: int | None = None) -> list[list[Any]]:
    """Return a prompt; with a mask where its padding is counted, as the host's text encoders give it."""
    told: dict[str, Any] = {"pooled_output": families.random("pooled", 1, 16), "guidance": 6.0}
    if num_padding is not None:
        told["attention_mask"] = (torch.arange(num_tokens) < num_tokens - num_padding).long()[None]
    return [[families.random(f"text {num_tokens}", 1, num_tokens, 32), told]]


def radial(model: ModelPatcher, **options: Any) -> ModelPatcher:
    return RadialAttention.execute(model=model, **{**WISHES, **options}).args[0]


def sampled(model: ModelPatcher, positive: Any = None, **options: Any) -> Tensor:
    positive = prompt(7) if positive is None else positive
    defaults = {"negative": prompt(5), "sigmas": torch.tensor(flow_sigmas(STEPS, SHIFT))}
    return core_custom(model, {"samples": torch.zeros(SHAPE)}, positive=positive, **defaults, **options)[0]["samples"]


def with_override(model: ModelPatcher, override: Callable[..., Tensor]) -> ModelPatcher:
    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    return clone


def block_of(options: dict[str, Any]) -> int | None:
    """Return the number of a block, the double ones first; None for the refiner of the text."""
    if "block_index" not in options:
        return None
    return options["block_index"] + {"double": 0, "single": 2}[options["block_type"]]


def controller(model: ModelPatcher) -> Any:
    spec = paired(model, None, "test").spec
    settings = RadialWishes.parse("decay=0.3,first=1,last=1,blocks=1").settings(spec, SHAPE[2])
    return make_controller(spec, SHAPE, STEPS, settings)


def masked_dense(model: ModelPatcher) -> ModelPatcher:
    """Return the model with dense attention by a mask over all pairs, in the order in which the host has its tokens."""
    blocks = controller(model).block_map.blocks
    assert 0.2 < blocks.float().mean() < 0.8
    seen = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)

    def attend(func: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, **kwargs: Any) -> Tensor:
        options = kwargs["transformer_options"]
        block = block_of(options)
        step = int((options["sample_sigmas"] - options["sigmas"][0]).abs().argmin())
        if block is None or block == 0 or step not in RADIAL_STEPS:
            return func(q, k, v, heads, **kwargs)
        pairs = F.pad(seen, (q.shape[2] - NUM_VIDEO, 0, q.shape[2] - NUM_VIDEO, 0), value=True)
        bias = torch.zeros(pairs.shape).masked_fill(~pairs, float("-inf"))
        if kwargs["mask"] is not None:
            bias = bias + kwargs["mask"]
        return F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)

    return with_override(model, attend)


@pytest.mark.parametrize("num_padding", [None, 0, 3], ids=["no mask", "a mask of nothing", "a padded text"])
def test_it_is_dense_attention_by_its_mask(model: ModelPatcher, num_padding: int | None) -> None:
    positive = prompt(7, num_padding)
    found, dense = sampled(radial(model), positive), sampled(model, positive)
    assert relative_error(found, sampled(masked_dense(model), positive)) < CLOSE
    assert relative_error(found, dense) > 10 * CLOSE


def test_prompts_of_two_lengths_do_not_mix(model: ModelPatcher) -> None:
    found = sampled(radial(model), cfg=3.0)
    assert relative_error(found, sampled(masked_dense(model), cfg=3.0)) < CLOSE
    assert relative_error(found, sampled(radial(model))) > 10 * CLOSE


def test_headless_gives_the_same_with_the_same_weights(model: ModelPatcher, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="diffusers, whose networks lora_core runs, is not installed")
    state = {name: x.clone().contiguous() for name, x in model.model.diffusion_model.state_dict().items()}
    axes = families.FAMILIES["HunyuanVideo"].unet["axes_dim"]
    file = tmp_path / "hunyuan.safetensors"
    save_file(state, file, {"config": json.dumps({"transformer": {"rope_axes_dim": axes}})})
    headless = open_hunyuan(file, dtype=torch.float32)
    ((text, told),) = prompt(7)
    text = packed(text[0], told["pooled_output"][0], 16)[None]
    plan = paired(model, None, "test").plan(RunSettings(num_steps=STEPS, shift=SHIFT, cfg=1.0))
    at_work = controller(model)
    latents = sample(headless, plan, draw_noise(SHAPE, SEED), Condition(text), radial=at_work)
    assert at_work.num_radial == len(RADIAL_STEPS) * (NUM_BLOCKS - 1)
    assert relative_error(sampled(radial(model)), latents) < CLOSE


def test_another_override_keeps_the_refiner_and_what_is_dense(model: ModelPatcher) -> None:
    """Blocks are counted through: three first ones are both double blocks and a single one."""
    asked: list[int | None] = []

    def other(func: Any, *args: Any, **kwargs: Any) -> Tensor:
        asked.append(block_of(kwargs["transformer_options"]))
        return func(*args, **kwargs)

    found = sampled(radial(with_override(model, other), first_blocks="3"))
    assert [asked.count(block) for block in (None, 0, 1, 2, 3)] == [2 * STEPS, STEPS, STEPS, STEPS, STEPS - 2]
    assert relative_error(found, sampled(radial(model, first_blocks="3"))) < CLOSE


@pytest.fixture
def patched(model: ModelPatcher) -> ModelPatcher:
    clone = model.clone()

    def patch(q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> dict[str, Any]:
        hidden = torch.zeros(1, 1, q.shape[2])
        hidden[:, :, -1] = torch.finfo(hidden.dtype).min
        return {"attn_mask": hidden}

    clone.set_model_attn1_patch(patch)
    return clone


def test_a_mask_over_the_video_is_an_error(patched: ModelPatcher) -> None:
    with pytest.raises(ModelError, match="another node masks the self-attention"):
        sampled(radial(patched))


def test_a_picture_that_rides_along_is_an_error(model: ModelPatcher) -> None:
    positive = prompt(7)
    positive[0][1]["ref_latent"] = torch.zeros(1, 16, 1, 8, 8)
    with pytest.raises(
        ModelError,
        match=r"over 167 by 167 tokens, of which 9 latent frames of 16 and a text of 7 make only 151 \(a clip alone",
    ):
        sampled(radial(model), positive)


def test_a_network_that_nobody_described_is_refused_before_it_runs() -> None:
    with pytest.raises(ModelError) as refused:
        radial(tiny_model("Flux"))
    assert str(refused.value) == (
        "RadialAttention: its network is a Flux, and the order of its tokens is not known (a model as it was "
        "published, of Wan, HunyuanVideo). Sample this model without it."
    )


def test_hunyuanvideo_1_5_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = families.FAMILIES["HunyuanVideo"]
    later = replace(tiny, unet={**tiny.unet, "use_cond_type_embedding": True})
    monkeypatch.setattr(families, "FAMILIES", {"later": later})
    with pytest.raises(ModelError, match=r"its network is a HunyuanVideo 1\.5, and the order of its tokens"):
        radial(tiny_model("later"))


def test_the_report_counts_as_the_published_script_and_the_paper_do(model: ModelPatcher) -> None:
    usual = dict.fromkeys(("decay", "first_steps", "last_steps", "first_blocks"), "usual")
    text = " ".join(RadialAttention.execute(model=model, executor="auto", **usual).args[1].split())
    assert "129 frames of 1280x720: decay 0.95; dense: first steps 25%, last steps 1, first blocks 0" in text
    assert "257 frames of 1280x720: decay 1; dense: first steps 2, last steps 1, first blocks 2" in text
    short = RadialAttention.execute(model=model, latent={"samples": torch.zeros(SHAPE)}, **WISHES).args[1]
    assert "33 frames of 64x64" in short
    assert "it will not pay here" in short
