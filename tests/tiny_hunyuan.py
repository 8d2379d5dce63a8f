"""Tiny random HunyuanVideo models of the true architecture, in the forms that users have them in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lora_core.families.hunyuan.names import LAST_MODULATION, SCALE_SHIFT, aliases
from lora_core.families.hunyuan.spec import HunyuanSize, shapes_of
from lora_core.families.hunyuan.text import NUM_TEMPLATE_TOKENS, TEMPLATE

SIZE = HunyuanSize(
    width=32, mlp_width=128, head_width=16, num_double=2, num_single=2, text_width=32, pooled_width=24, in_channels=4,
    out_channels=4,
)  # fmt: skip
ROPE_AXES = (4, 6, 6)
METADATA = {"config": json.dumps({"transformer": {"rope_axes_dim": ROPE_AXES}})}
SENTENCE = "a red green blue circle square moves left right up down on plain striped background"

# ---------------------------------------------------------------------------------------------- modules


@cache
def transformer(seed: int = 0, size: HunyuanSize = SIZE, axes: tuple[int, ...] = ROPE_AXES) -> nn.Module:
    """Build a HunyuanVideoTransformer3DModel; the same arguments return the same (shared, untouched) module."""
    from diffusers import HunyuanVideoTransformer3DModel

    torch.manual_seed(seed)
    module = HunyuanVideoTransformer3DModel(
        in_channels=size.in_channels,
        out_channels=size.out_channels,
        num_attention_heads=size.width // size.head_width,
        attention_head_dim=size.head_width,
        num_layers=size.num_double,
        num_single_layers=size.num_single,
        num_refiner_layers=size.num_refiner,
        text_embed_dim=size.text_width,
        pooled_projection_dim=size.pooled_width,
        rope_axes_dim=axes,
        guidance_embeds=size.takes_guidance,
    )
    return module.requires_grad_(False).eval()


@cache
def vae() -> nn.Module:
    """Build an AutoencoderKLHunyuanVideo of 4 latent channels."""
    from diffusers import AutoencoderKLHunyuanVideo

    torch.manual_seed(2)
    module = AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=8
    )
    return module.requires_grad_(False).eval()


@cache
def llama() -> nn.Module:
    """Build a LlamaModel for the words of `tokenizer_json`."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=160, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=None, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaModel(config).requires_grad_(False).eval()


@cache
def clip() -> nn.Module:
    """Build a CLIPTextModel."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(4)
    config = CLIPTextConfig(
        vocab_size=160, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, projection_dim=24,
    )  # fmt: skip
    module = CLIPTextModel(config)
    for parameter in module.parameters():  # transformers begins with a deviation that hides what a weight does
        nn.init.normal_(parameter, std=0.2)
    return module.requires_grad_(False).eval()


def tokenizer(*, is_llama: bool) -> object:
    """Return a word-level tokenizer that makes as many tokens of Llama's template as the true one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.Whitespace()
    before = TEMPLATE.partition("{}")[0].lower()
    words = [word for word, _ in splitter.pre_tokenize_str(f"{before} {SENTENCE} <|eot_id|>")]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(["<pad>", "<s>", "</s>", "<unk>", *words]))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = splitter
    num_begins = NUM_TEMPLATE_TOKENS - len(splitter.pre_tokenize_str(before)) if is_llama else 1
    single = " ".join(["<s>"] * num_begins + ["$A"] + ([] if is_llama else ["</s>"]))
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


# ---------------------------------------------------------------------------------------------- files


def fused_state(module: nn.Module, size: HunyuanSize = SIZE) -> dict[str, Tensor]:
    """Return a transformer's tensors as ComfyUI's network has them."""
    from lora_core.families.hunyuan.names import fused

    own = {_target(name): tensor for name, tensor in module.state_dict().items()}
    state: dict[str, Tensor] = {}
    for target in shapes_of(size, are_fused=True):
        path = target.removesuffix(".bias")
        suffix = target[len(path) :]
        if path == LAST_MODULATION:
            scale, shift = own[SCALE_SHIFT + suffix].chunk(2)
            tensor = torch.cat([shift, scale])
        else:
            parts = fused().get(path, (path,))
            tensor = torch.cat([own[part + suffix] for part in parts])
        state[target if suffix else f"{target}.weight"] = tensor
    return state


def original_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a transformer's tensors as its authors name them."""
    spelt = {native: theirs for theirs, native in aliases().items() if not theirs.startswith(_DIFFUSERS)}
    state = {}
    for name, tensor in fused_state(module).items():
        path, _, leaf = name.rpartition(".")
        state[f"{spelt.get(path, path)}.{leaf}"] = tensor
    return state


_DIFFUSERS = ("transformer_blocks", "single_transformer", "context_emb", "time_text", "norm_out", "proj_out", "x_emb")


def _target(name: str) -> str:
    path, _, leaf = name.rpartition(".")
    path = aliases().get(path, path)
    return path if leaf == "weight" else f"{path}.{leaf}"


def save(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write tensors as one safetensors file."""
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path, metadata=metadata)
    return path


def comfy_vae_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a VAE's tensors as ComfyUI's network has them: each name looked up the other way round."""
    from lora_core.families.hunyuan.vae_names import vae_to_diffusers

    ours = {vae_to_diffusers(name): name for name in _comfy_vae_names()}
    state = {}
    for name, tensor in module.state_dict().items():
        is_linear = ".attentions." in name and tensor.ndim == 2
        state[ours.get(name, name)] = tensor[:, :, None, None, None] if is_linear else tensor
    return state


def _comfy_vae_names() -> list[str]:
    resnet = ["norm1", "norm2", "conv1.conv", "conv2.conv", "nin_shortcut.conv"]
    modules = [f"{half}.mid.block_{i}.{part}" for half in ("encoder", "decoder") for i in (1, 2) for part in resnet]
    modules += [f"encoder.down.{i}.block.{j}.{part}" for i in range(4) for j in range(3) for part in resnet]
    modules += [f"decoder.up.{i}.block.{j}.{part}" for i in range(4) for j in range(3) for part in resnet]
    modules += [f"encoder.down.{i}.downsample.conv.conv" for i in range(4)]
    modules += [f"decoder.up.{i}.upsample.conv.conv" for i in range(4)]
    for half in ("encoder", "decoder"):
        modules += [f"{half}.norm_out", *(f"{half}.mid.attn_1.{part}" for part in ("norm", "q", "k", "v", "proj_out"))]
    return [f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")]


def save_folder(folder: Path, size: HunyuanSize = SIZE) -> Path:
    """Write a model as diffusers does, with the real pipeline's `save_pretrained`."""
    pipeline(size).save_pretrained(folder)
    return folder


def pipeline(size: HunyuanSize = SIZE) -> object:
    """Return diffusers' pipeline of the tiny parts."""
    from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline

    return HunyuanVideoPipeline(
        text_encoder=llama(),
        tokenizer=tokenizer(is_llama=True),
        text_encoder_2=clip(),
        tokenizer_2=tokenizer(is_llama=False),
        transformer=transformer(size=size),
        vae=vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def save_files(folder: Path) -> dict[str, Path]:
    """Write a model as single files, as ComfyUI's users have them, and tokenizers; return the opener's arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, is_llama in (("tokenizer", True), ("tokenizer_2", False)):
        tokenizer(is_llama=is_llama).save_pretrained(folder / name)  # type: ignore[attr-defined]
    stated = {"num_attention_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}
    save(
        {f"model.{name}": tensor for name, tensor in llama().state_dict().items()}
        | {"lm_head.weight": torch.ones(2, 2)},
        folder / "llava_llama3.safetensors",
        {"config": json.dumps(stated)},
    )
    own = {name.removeprefix("text_model."): tensor for name, tensor in clip().state_dict().items()}
    clip_config = {"num_attention_heads": 2, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    save(
        {f"text_model.{name}": tensor for name, tensor in own.items()} | {"text_projection.weight": torch.ones(2, 2)},
        folder / "clip_l.safetensors",
        {"config": json.dumps(clip_config)},
    )
    return {
        "source": save(fused_state(transformer()), folder / "hunyuan_video_t2v.safetensors", METADATA),
        "vae": save(comfy_vae_state(vae()), folder / "hunyuan_video_vae.safetensors"),
        "text_encoder": folder / "llava_llama3.safetensors",
    }
