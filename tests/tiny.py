"""Tiny random models of true Wan architecture, written in every form that users have them in.

Weights come from a fixed seed and are stored as float32 unless a dtype is asked for, so that each form can be compared
with the module it was written from. Widths are multiples of 32, which GGUF's Q8_0 blocks need.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lora_core.checkpoints.residency import Piece
from lora_core.families.pieces.vae_names import vae_to_native
from lora_core.families.wan.names import to_native

NUM_HEADS, WIDTH, FFN_WIDTH, TEXT_WIDTH, NUM_BLOCKS = 2, 64, 128, 64, 2
#: Of the CLIP vision encoder: 2 heads of ViT-H's width, 2x2 patches and the class token.
IMAGE_WIDTH, IMAGE_SIZE, NUM_IMAGE_TOKENS = 160, 28, 5
SENTENCE = "a red green blue circle square moves left right up down on plain striped background zibbo orbits"
#: What ComfyUI's loader and ours read head count and text width from, where they are not Wan's.
NATIVE_METADATA = {"config": json.dumps({"transformer": {"num_heads": NUM_HEADS, "text_dim": TEXT_WIDTH}})}


# ---------------------------------------------------------------------------------------------- modules


@cache
def transformer(
    seed: int = 0,
    *,
    in_channels: int = 16,
    out_channels: int = 16,
    image_branch: bool = False,
    image_width: int = 1280,
    image_positions: int | None = None,
) -> nn.Module:
    """Build a WanTransformer3DModel; the same arguments return the same (shared, untouched) module."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    module = WanTransformer3DModel(
        num_attention_heads=NUM_HEADS,
        attention_head_dim=WIDTH // NUM_HEADS,
        in_channels=in_channels,
        out_channels=out_channels,
        text_dim=TEXT_WIDTH,
        ffn_dim=FFN_WIDTH,
        num_layers=NUM_BLOCKS,
        image_dim=image_width if image_branch else None,
        added_kv_proj_dim=WIDTH if image_branch else None,
        pos_embed_seq_len=image_positions,
    )
    if image_positions is not None:
        nn.init.normal_(module.condition_embedder.image_embedder.pos_embed)  # diffusers begins with zeros
    return module.requires_grad_(False).eval()


@cache
def vae(*, large: bool = False) -> nn.Module:
    """Build an AutoencoderKLWan of Wan 2.1's layout, or of Wan 2.2's with 48 channels."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(2)
    if not large:
        return AutoencoderKLWan(base_dim=4).requires_grad_(False).eval()
    from lora_core.families.pieces.latents import LATENT_MEAN, LATENT_STD

    module = AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=8,
        z_dim=48,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=list(LATENT_MEAN[48]),
        latents_std=list(LATENT_STD[48]),
    )
    return module.requires_grad_(False).eval()


def image_transformer(*, first_and_last: bool = False) -> nn.Module:
    """Build the transformer of a Wan 2.1 I2V or FLF2V that looks at pictures through `image_encoder`."""
    positions = 2 * NUM_IMAGE_TOKENS if first_and_last else None
    return transformer(0, in_channels=36, image_branch=True, image_width=IMAGE_WIDTH, image_positions=positions)


@cache
def image_encoder(*, width: int = IMAGE_WIDTH) -> nn.Module:
    """Build a CLIPVisionModel with ViT-H/14's heads, patches and activation."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(4)
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=width // 80,
        image_size=IMAGE_SIZE,
        patch_size=14,
        hidden_act="gelu",
    )
    module = CLIPVisionModel(config)
    for parameter in module.parameters():  # transformers begins with a deviation that hides what a weight does
        nn.init.normal_(parameter, std=0.2)
    return module.requires_grad_(False).eval()


@cache
def text_encoder() -> nn.Module:
    """Build a UMT5EncoderModel for the words of `tokenizer`."""
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(3)
    config = UMT5Config(
        vocab_size=32, d_model=TEXT_WIDTH, d_kv=16, num_heads=4, num_layers=2, d_ff=FFN_WIDTH, dropout_rate=0.0
    )
    return UMT5EncoderModel(config).requires_grad_(False).eval()


def tokenizer_json() -> str:
    """Return a word-level tokenizer in the `tokenizer.json` form, ending each text with `</s>`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *SENTENCE.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer.to_str()


@cache
def spiece_model() -> bytes:
    """Return a sentencepiece model of 32 pieces with T5's special numbers, as `spiece.model` files hold it."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCE] * 4),
        model_writer=model,
        vocab_size=32,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


# ---------------------------------------------------------------------------------------------- single files


def native_state(module: nn.Module, *, dtype: torch.dtype = torch.float32, prefix: str = "") -> dict[str, Tensor]:
    """Return a transformer's tensors under native names."""
    return {f"{prefix}{to_native(name)}": tensor.to(dtype) for name, tensor in module.state_dict().items()}


def save_native(module: nn.Module, path: Path, *, dtype: torch.dtype = torch.float32, prefix: str = "") -> Path:
    """Write a transformer as one safetensors file in native naming."""
    save_file(_contiguous(native_state(module, dtype=dtype, prefix=prefix)), path, metadata=NATIVE_METADATA)
    return path


def save_fp8(module: nn.Module, path: Path, form: str) -> Path:
    """Write a transformer with 8-bit block weights.

    `form` is "scaled" (`scaled_fp8` and `scale_weight`), "comfy_quant" (a JSON tensor per layer and `weight_scale`),
    "metadata" (`_quantization_metadata` in the header) or "plain" (no scales).
    """
    state = native_state(module, dtype=torch.float16)
    metadata = dict(NATIVE_METADATA)
    layers = [name.removesuffix(".weight") for name, tensor in state.items() if _is_block_linear(name, tensor)]
    for layer in layers:
        state[f"{layer}.weight"], scale = quantise_fp8(state[f"{layer}.weight"], scaled=form != "plain")
        state.update(_fp8_companions(layer, scale, form))
    if form == "scaled":
        state["scaled_fp8"] = torch.empty(2, dtype=torch.float8_e4m3fn)
    if form == "metadata":
        metadata["_quantization_metadata"] = json.dumps(
            {"layers": {name: {"format": "float8_e4m3fn"} for name in layers}}
        )
    save_file(_contiguous(state), path, metadata=metadata)
    return path


def quantise_fp8(weight: Tensor, *, scaled: bool = True) -> tuple[Tensor, Tensor]:
    """Return (8-bit weight, the scale that it is to be multiplied with)."""
    largest = torch.finfo(torch.float8_e4m3fn).max
    scale = weight.float().abs().max() / largest if scaled else torch.ones(())
    return (weight.float() / scale).clamp(-largest, largest).to(torch.float8_e4m3fn), scale


def fp8_reference(module: nn.Module, *, scaled: bool = True) -> dict[str, Tensor]:
    """Return the float32 state, in diffusers' naming, that `save_fp8` stores up to float16's rounding."""
    state = {}
    for name, tensor in module.state_dict().items():
        native = str(to_native(name))
        if _is_block_linear(native, tensor):
            weight, scale = quantise_fp8(tensor.half(), scaled=scaled)
            state[name] = weight.float() * scale
        else:
            state[name] = tensor.half().float()
    return state


def save_gguf(module: nn.Module, path: Path, quantised: str = "Q8_0") -> Path:
    """Write a transformer as GGUF: block linears quantised, the rest float32."""
    return write_gguf(native_state(module), path, quantised)


def write_gguf(state: Mapping[str, Tensor], path: Path, quantised: str = "Q8_0") -> Path:
    """Write native tensors as GGUF."""
    import gguf

    kind = gguf.GGMLQuantizationType[quantised]
    writer = gguf.GGUFWriter(path, "wan")
    writer.add_string("config", NATIVE_METADATA["config"])
    for name, tensor in state.items():
        array = tensor.contiguous().numpy()
        if _is_block_linear(name, tensor):
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def save_vae(module: nn.Module, path: Path) -> Path:
    """Write a VAE as one safetensors file in native naming."""
    nested = bool(module.config["is_residual"])
    state = {str(vae_to_native(name, nested=nested)): tensor for name, tensor in module.state_dict().items()}
    save_file(_contiguous(state), path)
    return path


def save_text_encoder(module: nn.Module, path: Path, *, with_tokenizer: bool = False, fp8: bool = False) -> Path:
    """Write a UMT5 encoder as one file with Hugging Face's names, as ComfyUI's users have it."""
    state = {name: tensor for name, tensor in module.state_dict().items() if name != "encoder.embed_tokens.weight"}
    if fp8:
        for name in [name for name in state if ".layer." in name and state[name].ndim == 2 and "bias" not in name]:
            state[name], state[name.removesuffix("weight") + "scale_weight"] = quantise_fp8(state[name])
        state["scaled_fp8"] = torch.empty(0, dtype=torch.float8_e4m3fn)
    if with_tokenizer:
        state["spiece_model"] = torch.frombuffer(bytearray(spiece_model()), dtype=torch.uint8)
    save_file(_contiguous(state), path, metadata={"config": json.dumps(module.config.to_dict(), default=str)})
    return path


def save_image_encoder(
    module: nn.Module, path: Path, spelling: str = "transformers", metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a CLIP vision encoder as one file, named as by "transformers", "open_clip" or "wan".

    Each holds what real files of its kind hold besides: a projection, and in the latter two a text encoder.
    """
    # transformers 4 has its names under vision_model, transformers 5 bare.
    state = {name.removeprefix("vision_model."): tensor for name, tensor in module.state_dict().items()}
    save_file(_contiguous(_IMAGE_ENCODER_SPELLINGS[spelling](state)), path, metadata=metadata)
    return path


def _transformers_image_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    width = len(state["embeddings.class_embedding"])
    named = {f"vision_model.{name}": tensor for name, tensor in state.items()}
    named["vision_model.embeddings.position_ids"] = torch.arange(NUM_IMAGE_TOKENS)[None]
    return named | {"visual_projection.weight": torch.zeros(8, width)}


def _open_clip_image_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    width = len(state["embeddings.class_embedding"])
    named = {
        "class_embedding": state["embeddings.class_embedding"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "conv1.weight": state["embeddings.patch_embedding.weight"],
        "proj": torch.zeros(width, 8),
    }
    for leaf in ("weight", "bias"):
        named |= {f"ln_pre.{leaf}": state[f"pre_layrnorm.{leaf}"], f"ln_post.{leaf}": state[f"post_layernorm.{leaf}"]}
        for i in range(3):
            ours, theirs = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
            named |= {
                f"{theirs}.attn.in_proj_{leaf}": torch.cat([state[f"{ours}.self_attn.{n}_proj.{leaf}"] for n in "qkv"]),
                f"{theirs}.attn.out_proj.{leaf}": state[f"{ours}.self_attn.out_proj.{leaf}"],
                f"{theirs}.ln_1.{leaf}": state[f"{ours}.layer_norm1.{leaf}"],
                f"{theirs}.ln_2.{leaf}": state[f"{ours}.layer_norm2.{leaf}"],
                f"{theirs}.mlp.c_fc.{leaf}": state[f"{ours}.mlp.fc1.{leaf}"],
                f"{theirs}.mlp.c_proj.{leaf}": state[f"{ours}.mlp.fc2.{leaf}"],
            }
    text = {"transformer.resblocks.0.attn.in_proj_weight": torch.zeros(6, 2), "logit_scale": torch.zeros(())}
    return text | {f"visual.{name}": tensor for name, tensor in named.items()}


def _wan_image_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    width = len(state["embeddings.class_embedding"])
    named = {
        "cls_embedding": state["embeddings.class_embedding"][None, None],
        "pos_embedding": state["embeddings.position_embedding.weight"][None],
        "patch_embedding.weight": state["embeddings.patch_embedding.weight"],
        "head": torch.zeros(width, 8),
    }
    for leaf in ("weight", "bias"):
        named |= {
            f"pre_norm.{leaf}": state[f"pre_layrnorm.{leaf}"],
            f"post_norm.{leaf}": state[f"post_layernorm.{leaf}"],
        }
        for i in range(3):
            ours, theirs = f"encoder.layers.{i}", f"transformer.{i}"
            named |= {
                f"{theirs}.attn.to_qkv.{leaf}": torch.cat([state[f"{ours}.self_attn.{n}_proj.{leaf}"] for n in "qkv"]),
                f"{theirs}.attn.proj.{leaf}": state[f"{ours}.self_attn.out_proj.{leaf}"],
                f"{theirs}.norm1.{leaf}": state[f"{ours}.layer_norm1.{leaf}"],
                f"{theirs}.norm2.{leaf}": state[f"{ours}.layer_norm2.{leaf}"],
                f"{theirs}.mlp.0.{leaf}": state[f"{ours}.mlp.fc1.{leaf}"],
                f"{theirs}.mlp.2.{leaf}": state[f"{ours}.mlp.fc2.{leaf}"],
            }
    text = {"textual.token_embedding.weight": torch.zeros(6, 2), "log_scale": torch.zeros(())}
    return text | {f"visual.{name}": tensor for name, tensor in named.items()}


_IMAGE_ENCODER_SPELLINGS: Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "transformers": _transformers_image_encoder,
    "open_clip": _open_clip_image_encoder,
    "wan": _wan_image_encoder,
}


def _fp8_companions(layer: str, scale: Tensor, form: str) -> Mapping[str, Tensor]:
    makers: dict[str, Callable[[], dict[str, Tensor]]] = {
        "plain": dict,
        "scaled": lambda: {f"{layer}.scale_weight": scale},
        "metadata": lambda: {f"{layer}.weight_scale": scale},
        "comfy_quant": lambda: {
            f"{layer}.weight_scale": scale,
            f"{layer}.comfy_quant": torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8),
        },
    }
    return makers[form]()


def _is_block_linear(native: str, tensor: Tensor) -> bool:
    return native.startswith("blocks.") and native.endswith(".weight") and tensor.ndim == 2


def _contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous().clone() for name, tensor in state.items()}


# ---------------------------------------------------------------------------------------------- whole sets


@dataclass(frozen=True)
class TinyFiles:
    """Name the single files of one model, as `open_wan` takes them."""

    high: Path
    low: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path

    def arguments(self) -> dict[str, Path]:
        """Return `open_wan`'s keyword arguments beside the first file."""
        return {
            "low_noise": self.low,
            "vae": self.vae,
            "text_encoder": self.text_encoder,
            "tokenizer": self.tokenizer,
        }


def save_files(folder: Path, *, in_channels: int = 16, dtype: torch.dtype = torch.float32) -> TinyFiles:
    """Write a two-expert model as single native files, seeds 0 (high) and 1 (low)."""
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer_json())
    high, low = (transformer(seed, in_channels=in_channels) for seed in (0, 1))
    return TinyFiles(
        high=save_native(high, folder / "tiny_high_noise.safetensors", dtype=dtype),
        low=save_native(low, folder / "tiny_low_noise.safetensors", dtype=dtype),
        vae=save_vae(vae(), folder / "tiny_vae.safetensors"),
        text_encoder=save_text_encoder(text_encoder(), folder / "tiny_umt5.safetensors"),
        tokenizer=tokenizer,
    )


def image_processor() -> Any:
    """Return the preparation of pictures that a diffusers folder keeps beside `image_encoder`."""
    import transformers

    # transformers 5 has it of this name; its CLIPImageProcessor asks for torchvision.
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return kind(size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})


def save_folder(
    folder: Path,
    *,
    two_experts: bool = True,
    in_channels: int = 16,
    boundary_ratio: float | None = 0.875,
    large_vae: bool = False,
    image_encoder: nn.Module | None = None,
    first_and_last: bool = False,
) -> Path:
    """Write a model as diffusers does, with the real pipeline's `save_pretrained`."""
    from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "raw.json").write_text(tokenizer_json())
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "raw.json"), pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    (folder / "raw.json").unlink()
    out_channels = 48 if large_vae else 16
    high, low = (transformer(seed, in_channels=in_channels, out_channels=out_channels) for seed in (0, 1))
    if image_encoder is not None:
        high = image_transformer(first_and_last=first_and_last)
    parts = {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder(),
        "vae": vae(large=large_vae),
        "scheduler": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        "transformer": high,
        "transformer_2": low if two_experts else None,
        "boundary_ratio": boundary_ratio if two_experts else None,
        "expand_timesteps": large_vae,
    }
    if in_channels > out_channels:
        processor = None if image_encoder is None else image_processor()
        pipeline = WanImageToVideoPipeline(**parts, image_encoder=image_encoder, image_processor=processor)
    else:
        pipeline = WanPipeline(**parts)
    pipeline.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------------------------------------- inputs


def run(module: nn.Module, *, batch: int = 1, sigma: float = 0.9, image_tokens: int = 0) -> Tensor:
    """Run a transformer once in float32 on a fixed input: (batch, C, 2, 4, 4) latents, 512 text tokens."""
    generator = torch.Generator().manual_seed(7)
    channels = module.config["in_channels"]
    inputs = {
        "hidden_states": torch.randn(batch, channels, 2, 4, 4, generator=generator),
        "timestep": torch.full((batch,), 1000.0 * sigma),
        "encoder_hidden_states": torch.randn(batch, 512, TEXT_WIDTH, generator=generator),
    }
    if image_tokens:
        inputs["encoder_hidden_states_image"] = torch.randn(batch, image_tokens, 1280, generator=generator)
    with torch.no_grad():
        return module(**inputs, return_dict=False)[0]


def assert_alike(ours: Tensor, theirs: Tensor) -> None:
    """Compare what the same weights compute: to the last bits, in which some CPUs' kernels depend on where they lie.

    Weights mapped from a file begin where the file has them, those in memory at a multiple of 64 bytes.
    """
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def is_read(piece: Piece) -> bool:
    """Say whether a piece of a model has been read from its files."""
    return piece._network is not None
