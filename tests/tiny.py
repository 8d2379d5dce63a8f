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

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lora_core.checkpoints.residency import Piece
from lora_core.families.wan.names import to_native
from lora_core.families.wan.vae_names import vae_to_native

NUM_HEADS, WIDTH, FFN_WIDTH, TEXT_WIDTH, NUM_BLOCKS = 2, 64, 128, 64, 2
SENTENCE = "a red green blue circle square moves left right up down on plain striped background zibbo orbits"
#: What ComfyUI's loader and ours read head count and text width from, where they are not Wan's.
NATIVE_METADATA = {"config": json.dumps({"transformer": {"num_heads": NUM_HEADS, "text_dim": TEXT_WIDTH}})}


# ---------------------------------------------------------------------------------------------- modules


@cache
def transformer(
    seed: int = 0, *, in_channels: int = 16, out_channels: int = 16, image_branch: bool = False
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
        image_dim=1280 if image_branch else None,
        added_kv_proj_dim=WIDTH if image_branch else None,
    )
    return module.requires_grad_(False).eval()


@cache
def vae(*, large: bool = False) -> nn.Module:
    """Build an AutoencoderKLWan of Wan 2.1's layout, or of Wan 2.2's with 48 channels."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(2)
    if not large:
        return AutoencoderKLWan(base_dim=4).requires_grad_(False).eval()
    from lora_core.families.wan.latents import LATENT_MEAN, LATENT_STD

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


def save_folder(
    folder: Path,
    *,
    two_experts: bool = True,
    in_channels: int = 16,
    boundary_ratio: float | None = 0.875,
    large_vae: bool = False,
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
        pipeline = WanImageToVideoPipeline(**parts, image_encoder=None, image_processor=None)
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
