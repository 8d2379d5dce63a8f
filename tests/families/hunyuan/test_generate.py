"""HunyuanVideo at work: diffusers' own pipeline makes the same, LoRAs included, and embedded guidance is a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_hunyuan as tiny
import torch
from torch import Tensor

from lora_core import GenerationRequest, LoraStack, generate
from lora_core.engine.record import request_from_record
from lora_core.errors import RequestError
from lora_core.families.hunyuan.forward import apart
from lora_core.families.hunyuan.model import HunyuanModel
from lora_core.families.wan.spec import wan_spec
from lora_core.sampling.noise import draw_noise

PROMPT = "a red circle moves left"
SETTINGS: dict[str, Any] = {"num_frames": 5, "height": 32, "width": 32, "num_steps": 3, "shift": 7.0, "seed": 3}
D = tiny.SIZE.width


def save_lora(path: Path, stem: str, names: dict[str, int]) -> Path:
    generator = torch.Generator().manual_seed(5)
    tensors: dict[str, Tensor] = {}
    for name, num_outputs in names.items():
        tensors[f"{stem}{name}.lora_A.weight"] = 0.3 * torch.randn(4, D, generator=generator)
        tensors[f"{stem}{name}.lora_B.weight"] = 0.3 * torch.randn(num_outputs, 4, generator=generator)
    return tiny.save(tensors, path)


#: Files that diffusers' own converter reads rightly: its own names, and of the authors' those of the double blocks.
LORAS = {
    "diffusers": (
        "transformer.",
        {
            "transformer_blocks.0.attn.to_q": D,
            "transformer_blocks.1.attn.add_k_proj": D,
            "transformer_blocks.1.ff.net.0.proj": 4 * D,
            "single_transformer_blocks.0.attn.to_v": D,
            "single_transformer_blocks.1.proj_mlp": 4 * D,
            "single_transformer_blocks.1.norm.linear": 3 * D,
        },
    ),
    "authors": ("", {"double_blocks.0.img_attn_qkv": 3 * D, "double_blocks.1.txt_attn_qkv": 3 * D}),
}


def by_diffusers(lora: Path | None = None, **given: Any) -> Tensor:
    pipe: Any = tiny.pipeline()
    pipe.set_progress_bar_config(disable=True)
    if lora is not None:
        pipe.load_lora_weights(str(lora), adapter_name="style")
        pipe.set_adapters(["style"], [0.8])
    noise = draw_noise((1, 4, 2, 4, 4), SETTINGS["seed"])
    settings = {"height": 32, "width": 32, "num_frames": 5, "num_inference_steps": 3, "latents": noise, **given}
    try:
        return pipe(PROMPT, output_type="latent", return_dict=False, **settings)[0]
    finally:
        if lora is not None:
            pipe.unload_lora_weights()


def test_the_pipeline_of_diffusers_makes_the_same(model: HunyuanModel) -> None:
    video = generate(model, GenerationRequest(PROMPT, **SETTINGS))
    torch.testing.assert_close(model.normalise(video.latents), by_diffusers(), rtol=1e-4, atol=1e-4)
    assert video.frames.shape == (5, 32, 32, 3)
    assert video.record["request"]["embedded_guidance"] == 6.0  # type: ignore[index]


def test_so_it_does_with_other_guidance_of_both_kinds(model: HunyuanModel) -> None:
    request = GenerationRequest(PROMPT, "a blue square", cfg=3.0, embedded_guidance=2.5, **SETTINGS)
    ours = model.normalise(generate(model, request).latents)
    theirs = by_diffusers(negative_prompt="a blue square", true_cfg_scale=3.0, guidance_scale=2.5)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    plain = model.normalise(generate(model, GenerationRequest(PROMPT, **SETTINGS)).latents)
    assert (ours - plain).abs().max() > 1e-2


@pytest.mark.parametrize("kind", LORAS)
def test_so_it_does_with_the_same_lora(kind: str, model: HunyuanModel, tmp_path: Path) -> None:
    lora = save_lora(tmp_path / "style.safetensors", *LORAS[kind])
    video = generate(model, GenerationRequest(PROMPT, **SETTINGS), LoraStack().add(lora, strength=0.8))
    ours = model.normalise(video.latents)
    torch.testing.assert_close(ours, by_diffusers(lora), rtol=1e-4, atol=1e-4)
    plain = model.normalise(generate(model, GenerationRequest(PROMPT, **SETTINGS)).latents)
    assert (ours - plain).abs().max() > 1e-3


def test_embedded_guidance_is_kept_by_a_record_and_refused_where_there_is_none(model: HunyuanModel) -> None:
    request = GenerationRequest(PROMPT, embedded_guidance=4.0, **SETTINGS)
    record = generate(model, request).record
    assert request_from_record(record).embedded_guidance == 4.0
    with pytest.raises(RequestError) as caught:
        GenerationRequest("x", embedded_guidance=4.0).clip(wan_spec("wan2.2-t2v-a14b"))
    assert str(caught.value) == (
        "embedded_guidance: Wan 2.2 T2V A14B is told of no guidance. Leave it out, and set cfg instead."
    )


def test_texts_of_several_lengths_in_one_batch_are_what_each_is_alone(model: HunyuanModel) -> None:
    from lora_core.families.condition import Condition
    from lora_core.families.hunyuan.forward import forward

    texts = model.encode_text(["a", PROMPT])
    told = apart(texts, tiny.SIZE.pooled_width)
    assert told.valid.sum(dim=1).tolist() == [model.num_tokens("a"), model.num_tokens(PROMPT)]
    assert told.states.shape[1] == model.num_tokens(PROMPT)
    network, x = model.expert("low_noise"), draw_noise((1, 4, 2, 4, 4), 0).expand(2, -1, -1, -1, -1)
    with torch.no_grad():
        both = forward(network, model.spec, x, 0.7, texts, Condition(texts))
        alone = [forward(network, model.spec, x[:1], 0.7, texts[i : i + 1], Condition(texts)) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-5)
