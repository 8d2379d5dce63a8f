"""A tiny random Cosmos of the true architecture, written in the forms that users have it in."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import tiny
import torch
from torch import Tensor, nn

from lora_core.families.cosmos.names import to_native

TEXT_WIDTH = 32
#: diffusers' arguments; its own class makes the padding mask one more channel.
ARGUMENTS = {
    "in_channels": 17,
    "out_channels": 16,
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "num_layers": 2,
    "mlp_ratio": 2.0,
    "text_embed_dim": TEXT_WIDTH,
    "adaln_lora_dim": 8,
    "max_size": (32, 32, 32),
    "rope_scale": (1.0, 3.0, 3.0),
    "concat_padding_mask": True,
    "extra_pos_embed_type": None,
}


@cache
def transformer(seed: int = 0) -> nn.Module:
    """Build a CosmosTransformer3DModel whose output is not small; the same seed returns the same shared module."""
    from diffusers import CosmosTransformer3DModel

    torch.manual_seed(seed)
    module = CosmosTransformer3DModel(**ARGUMENTS)
    for parameter in module.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.7 / parameter.shape[1] ** 0.5)
    return module.requires_grad_(False).eval()


@cache
def text_encoder() -> nn.Module:
    """Build a T5EncoderModel of the first kind, without gates, for the words of `tiny.tokenizer_json`."""
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(3)
    config = T5Config(vocab_size=32, d_model=TEXT_WIDTH, d_kv=8, num_heads=4, num_layers=2, d_ff=64, dropout_rate=0.0)
    return T5EncoderModel(config).requires_grad_(False).eval()


@cache
def vae() -> nn.Module:
    """Build a VAE of Wan 2.1's layout whose posterior has hardly any width, so that a sample of it is its mean."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(2)
    module = AutoencoderKLWan(base_dim=4)
    with torch.no_grad():
        module.quant_conv.weight[16:] = 0
        module.quant_conv.bias[16:] = -30
    return module.requires_grad_(False).eval()


class Harmless:
    """What diffusers' pipeline asks to be called as a guardrail, and finds nothing; it is a peer here, nothing more."""

    def to(self, device: object) -> None: ...

    def check_text_safety(self, prompt: str) -> bool:
        return True


def pipeline():
    """Build diffusers' own pipeline around the tiny pieces."""
    from diffusers import Cosmos2VideoToWorldPipeline, FlowMatchEulerDiscreteScheduler
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tiny.tokenizer_json()),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    return Cosmos2VideoToWorldPipeline(
        text_encoder=text_encoder(),
        tokenizer=tokenizer,
        transformer=copy.deepcopy(transformer()),  # adapters are loaded into it
        vae=vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
        safety_checker=Harmless(),
    )


def save_folder(folder: Path) -> Path:
    """Write the model as diffusers does."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = pipeline()
    whole.register_modules(safety_checker=None)
    whole.save_pretrained(folder)
    return folder


def native_state(module: nn.Module, prefix: str = "net.") -> dict[str, Tensor]:
    """Return a transformer's tensors under native names."""
    return {f"{prefix}{to_native(name)}": tensor for name, tensor in module.state_dict().items()}


def save_nvidia(path: Path) -> Path:
    """Write the transformer as NVIDIA's training does: a pickle with prefixes, counters and states of fused layers."""
    state: dict[str, object] = dict(native_state(transformer()))
    state |= {"net.accum_iteration": torch.tensor(3), "net.pos_embedder.seq": torch.arange(32.0)}
    state |= {"net.blocks.0.self_attn.q_norm._extra_state": torch.empty(0, dtype=torch.uint8)}
    torch.save(state, path)
    return path
