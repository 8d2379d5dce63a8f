"""HunyuanVideo opened offline, in every form that its files come in, and what is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_hunyuan as tiny
import torch
from safetensors.torch import load_file
from tiny import quantise_fp8

from lora_core.errors import LoraCoreError, ModelError
from lora_core.families.hunyuan.model import HunyuanModel
from lora_core.families.hunyuan.open import open_hunyuan
from lora_core.families.hunyuan.transformer import transformer_config
from lora_core.families.registry import opener, spec_named

PROMPT = "a red circle moves left"


def state_of(model: HunyuanModel) -> dict[str, torch.Tensor]:
    return model.expert("low_noise").state_dict()


@pytest.mark.parametrize("naming", ["ComfyUI", "ComfyUI, prefixed", "authors", "diffusers"])
def test_a_transformer_in_any_naming_is_the_one_that_was_written(naming: str, tmp_path: Path) -> None:
    module = tiny.transformer()
    states = {
        "ComfyUI": tiny.fused_state,
        "ComfyUI, prefixed": lambda m: {f"model.diffusion_model.{n}": t for n, t in tiny.fused_state(m).items()},
        "authors": tiny.original_state,
        "diffusers": lambda m: m.state_dict(),
    }
    file = tiny.save(states[naming](module), tmp_path / "x.safetensors", tiny.METADATA)
    opened = state_of(opener(file)(file))  # type: ignore[arg-type]
    assert opened.keys() == module.state_dict().keys()
    assert all(torch.equal(opened[name], tensor) for name, tensor in module.state_dict().items())


def test_fp8_blocks_stay_8_bit_and_are_what_their_file_says(tmp_path: Path) -> None:
    state, expected = tiny.fused_state(tiny.transformer()), {}
    for name in [n for n in state if n.startswith(("double_blocks.", "single_blocks.")) and state[n].ndim == 2]:
        state[name], scale = quantise_fp8(state[name])
        state[name.removesuffix("weight") + "scale_weight"] = scale
        expected[name] = state[name].float() * scale
    state["scaled_fp8"] = torch.empty(2, dtype=torch.float8_e4m3fn)
    network = open_hunyuan(tiny.save(state, tmp_path / "x.safetensors", tiny.METADATA)).expert("low_noise")
    attn = network.transformer_blocks[0].attn
    parts = [part.dequantised_weight(torch.float32) for part in (attn.to_q, attn.to_k, attn.to_v)]
    assert attn.to_q.weight.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(torch.cat(parts), expected["double_blocks.0.img_attn.qkv.weight"])


def test_texts_are_those_of_diffusers_pipeline(folder: Path, model: HunyuanModel) -> None:
    opened = open_hunyuan(folder)
    states, pooled, mask = tiny.pipeline().encode_prompt([PROMPT, "a square " * 200])  # type: ignore[attr-defined]
    text = opened.encode_text([PROMPT, "a square " * 200])
    counts = [int(count) for count in mask.sum(dim=1)]
    assert text.shape == (2, 257, tiny.SIZE.text_width)
    assert counts == [opened.num_tokens(PROMPT), 256]
    torch.testing.assert_close(text[:, 1:], states * mask[..., None], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(text[:, 0, : tiny.SIZE.pooled_width], pooled, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.encode_text(PROMPT), text[:1])
    assert opened.unknown_words("a red zibbo") == ("zibbo",)


def test_the_vae_of_either_naming_is_diffusers(folder: Path, model: HunyuanModel) -> None:
    frames = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    latents = open_hunyuan(folder).vae_encode(frames)
    torch.testing.assert_close(latents, tiny.vae().encode(frames).latent_dist.mode())
    assert torch.equal(model.vae_encode(frames), latents)
    torch.testing.assert_close(model.vae_decode(latents), tiny.vae().decode(latents).sample)
    torch.testing.assert_close(model.denormalise(model.normalise(latents)), latents)


def test_the_published_configuration_is_read_off_the_shapes() -> None:
    from diffusers import HunyuanVideoTransformer3DModel

    spec = spec_named("hunyuan-video")
    config = transformer_config(spec, {}, "x")
    assert (config["num_layers"], config["num_single_layers"], config["num_attention_heads"]) == (20, 40, 24)
    with torch.device("meta"):
        module = HunyuanVideoTransformer3DModel(**config)
    assert sum(p.numel() for p in module.parameters()) == 12_821_012_544
    assert (spec.num_blocks, spec.default_shift, spec.embedded_guidance) == (60, 7.0, 6.0)
    assert spec.block_of("single_blocks.0.linear2") == (20, "linear2")


def _transformer_file(folder: Path, *extra: str, **shapes: tuple[int, ...]) -> Path:
    folder.mkdir()
    state = tiny.fused_state(tiny.transformer())
    state |= {name: torch.zeros(2, 2) for name in extra}
    state |= {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}
    return tiny.save(state, folder / "x.safetensors", tiny.METADATA)


def test_its_relatives_are_refused_by_name(tmp_path: Path, folder: Path) -> None:
    cases = {
        "HunyuanVideo 1.5": _transformer_file(tmp_path / "a", "cond_type_embedding.weight"),
        "HunyuanImage": _transformer_file(tmp_path / "b", "byt5_in.fc1.weight"),
        "HunyuanVideo I2V": _transformer_file(tmp_path / "c", img_in__proj__weight=(32, 9, 1, 2, 2)),
    }
    shutil.copytree(folder, tmp_path / "folder")
    index = tmp_path / "folder" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "HunyuanVideo15Pipeline"}))
    for relative, path in (*cases.items(), ("HunyuanVideo 1.5", tmp_path / "folder")):
        with pytest.raises(ModelError) as caught:
            opener(path)(path)
        assert str(caught.value).endswith(
            f"is {relative}, which is not opened here (HunyuanVideo (1.0), text to video). "
            "Choose that model, or use this one in ComfyUI with LoRA Stack On Models."
        )


def test_what_is_missing_or_superfluous_is_said_before_a_network_runs(files: dict[str, Path], tmp_path: Path) -> None:
    source = files["source"]
    alone = open_hunyuan(source)
    cases = [
        (lambda: alone.require(text=True), "Pass its path as text_encoder"),
        (lambda: alone.require(vae=True), "such as hunyuan_video_vae_bf16.safetensors"),
        (lambda: open_hunyuan(source, low_noise=source), "is given as low_noise, and HunyuanVideo has none"),
        (lambda: open_hunyuan(source, image_encoder=source), "is given as image_encoder"),
        (lambda: open_hunyuan(source, vae=source), "is no VAE of HunyuanVideo: it has no tensor"),
        (lambda: open_hunyuan(tmp_path / "none"), "no such file or folder"),
        (lambda: open_hunyuan(source, text_encoder=_alone(files, tmp_path)), "there is no text_encoder_2 beside it"),
        (lambda: open_hunyuan(source, offload="all"), "offload"),  # type: ignore[arg-type]
        (lambda: open_hunyuan(_strange(tmp_path)), "heads of width 16, and axes of its positions of [16, 56, 56]"),
    ]
    for call, told in cases:
        with pytest.raises(LoraCoreError) as caught:
            call()
        assert told in str(caught.value), str(caught.value)


def _alone(files: dict[str, Path], folder: Path) -> Path:
    (folder / "alone").mkdir(exist_ok=True)
    return Path(shutil.copy(files["text_encoder"], folder / "alone" / "llama.safetensors"))


def _strange(folder: Path) -> Path:
    model = open_hunyuan(tiny.save(tiny.fused_state(tiny.transformer()), folder / "strange.safetensors"))
    model.expert("low_noise")
    return folder


def test_a_file_is_read_only_when_it_is_used(files: dict[str, Path]) -> None:
    model = open_hunyuan(**files)
    assert model.experts["low_noise"]._network is None
    assert set(load_file(files["source"])) >= {"double_blocks.0.img_attn.qkv.weight"}
