"""HunyuanVideo's two text encoders: Llama 3 for what is said, CLIP-L for one vector of it all.

Letters: B prompts, L tokens, D width of Llama, V width of CLIP. Each prompt is encoded by itself and without padding,
which for networks that look backwards only gives what diffusers gets with it.
Dtype policy: both compute in the model's dtype.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint, open_checkpoint, read_json_file
from ...checkpoints.fp8 import place_fp8_layers, split_fp8
from ...checkpoints.residency import Network, Piece, Residence
from ...errors import ModelError
from ...wording import said
from .forward import packed
from .sources import HunyuanSources
from .text_config import clip_config, llama_config

#: The authors' `hyvideo/constants.py`: what Llama is told before and behind a prompt, and how many tokens of it are not
#: the prompt's.
TEMPLATE = (
    "<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following aspects: "
    "1. The main content and theme of the video."
    "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects."
    "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects."
    "4. background environment, light, style and atmosphere."
    "5. camera angles, movements, and transitions used in the video:<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
)
NUM_TEMPLATE_TOKENS = 95
#: Of Llama behind the template, and of CLIP.
MAX_TOKENS, _MAX_CLIP_TOKENS = 256, 77
#: The states are those that the last two layers have not seen.
_SKIPPED_LAYERS = 2

_WORD = re.compile(r"\w[\w'-]*")


class TextEncoder:
    """The reader of prompts; both networks are opened when the first prompt is encoded."""

    def __init__(self, llama: Piece, clip: Piece, tokenizers: tuple[Any, Any], widths: tuple[int, int]) -> None:
        self.llama, self.clip = llama, clip
        self.width, self.pooled_width = widths
        self._tokenizer, self._clip_tokenizer = tokenizers

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return texts (B, 1 + 256, D) on the compute device, as `forward.apart` takes them apart."""
        pooled = [self._pooled(prompt) for prompt in prompts]  # CLIP first, so that one network is there at a time
        states = [self._states(prompt) for prompt in prompts]
        return torch.stack([packed(*pair, MAX_TOKENS) for pair in zip(states, pooled, strict=True)])

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens a prompt has for Llama; those beyond `MAX_TOKENS` are not seen by the model."""
        return len(self._tokens(prompt)) - NUM_TEMPLATE_TOKENS

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Return the words of a prompt that Llama's tokenizer has no token for."""
        unknown = self._tokenizer.unk_token_id
        words = dict.fromkeys(_WORD.findall(prompt))
        return tuple(word for word in words if unknown is not None and unknown in self._tokenizer(word).input_ids)

    def _tokens(self, prompt: str) -> list[int]:
        tokens: list[int] = self._tokenizer(TEMPLATE.format(prompt)).input_ids
        if len(tokens) <= NUM_TEMPLATE_TOKENS:
            raise ModelError(
                "tokenizer",
                said("it makes {count} tokens of the template and the prompt", count=len(tokens)),
                expected=said("more than the template's {count}", count=NUM_TEMPLATE_TOKENS),
                remedy="Give the tokenizer of llava-llama-3-8b",
            )
        return tokens

    def _states(self, prompt: str) -> Tensor:
        network: Any = self.llama.use()
        ids = self._tokens(prompt)[: NUM_TEMPLATE_TOKENS + MAX_TOKENS]
        ids_1L = torch.tensor([ids], device=self.llama.residence.device)
        with torch.no_grad():
            states = network(input_ids=ids_1L, output_hidden_states=True).hidden_states[-1 - _SKIPPED_LAYERS]
        return states[0, NUM_TEMPLATE_TOKENS:]

    def _pooled(self, prompt: str) -> Tensor:
        network: Any = self.clip.use()
        ids = self._clip_tokenizer(prompt, truncation=True, max_length=_MAX_CLIP_TOKENS).input_ids
        with torch.no_grad():
            return network(input_ids=torch.tensor([ids], device=self.clip.residence.device)).pooler_output[0]


@dataclass(frozen=True)
class _Kind:
    """One of the two networks as files have it.

    Attributes:
        prefixes: what may stand before every name, the longest first.
        sign: a name that tells it, behind a prefix.
        config: the arguments of its configuration, from shapes and what is stated.
        build: the module with nothing in it, and the part of it whose names the files have.
        keeps_8_bit: which 8-bit weights stay so.
    """

    name: str
    prefixes: tuple[str, ...]
    sign: str
    config: Callable[[Mapping[str, tuple[int, ...]], Mapping[str, Any], object], dict[str, Any]]
    build: Callable[[Mapping[str, Any]], tuple[nn.Module, nn.Module]]
    keeps_8_bit: Callable[[str, Tensor], bool] = lambda name, tensor: False


def _build_llama(config: Mapping[str, Any]) -> tuple[nn.Module, nn.Module]:
    from transformers import LlamaConfig, LlamaModel

    module = LlamaModel(LlamaConfig(**config))
    return module, module


def _build_clip(config: Mapping[str, Any]) -> tuple[nn.Module, nn.Module]:
    from transformers import CLIPTextConfig, CLIPTextModel

    module = CLIPTextModel(CLIPTextConfig(**config))
    return module, getattr(module, "text_model", module)  # transformers 4 keeps the encoder one level down


_LLAMA = _Kind(
    "Llama",
    ("text_encoders.llama.transformer.model.", "llama.transformer.model.", "language_model.model.", "model.", ""),
    "layers.0.input_layernorm.weight",
    llama_config,
    _build_llama,
    lambda name, tensor: name.startswith("layers.") and name.endswith(".weight") and tensor.ndim == 2,
)
_CLIP = _Kind(
    "CLIP-L",
    ("text_encoders.clip_l.transformer.text_model.", "clip_l.transformer.text_model.", "text_model.", ""),
    "embeddings.token_embedding.weight",
    clip_config,
    _build_clip,
)


def open_text_encoder(sources: HunyuanSources, residence: Residence, dtype: torch.dtype) -> TextEncoder:
    """Read the headers of both text encoders, single files or folders, and open their tokenizers."""
    assert sources.text_encoder is not None
    missing = sources.missing()
    for piece in ("text_encoder_2", "tokenizer", "tokenizer_2"):
        if piece in missing:
            remedy = "Put it there, or name a folder that has both: tokenizer and tokenizer_2, text_encoder_2"
            what = said("there is no {piece} beside it", piece=piece)
            raise ModelError(sources.text_encoder, what, expected=missing[piece], remedy=remedy)
    llama, width = _opened(_LLAMA, sources.text_encoder, residence, dtype)
    clip, pooled = _opened(_CLIP, sources.text_encoder_2, residence, dtype)  # type: ignore[arg-type]  # seen to above
    tokenizers = _tokenizer(sources.tokenizer), _tokenizer(sources.tokenizer_2)
    return TextEncoder(llama, clip, tokenizers, (width, pooled))


def _opened(kind: _Kind, path: Path, residence: Residence, dtype: torch.dtype) -> tuple[Piece, int]:
    checkpoint = open_checkpoint(path)
    prefix = next((prefix for prefix in kind.prefixes if prefix + kind.sign in checkpoint.shapes), None)
    if prefix is None:
        first = ", ".join(list(checkpoint.shapes)[:2])
        what = said("is no {kind} text encoder, its tensors are named {first}, …", kind=kind.name, first=first)
        raise ModelError(path, what, expected=kind.sign, remedy="Choose the text encoders of HunyuanVideo")
    shapes = {name.removeprefix(prefix): shape for name, shape in checkpoint.shapes.items() if name.startswith(prefix)}
    file = checkpoint.path / "config.json"
    stated = read_json_file(file) if file.is_file() else {}
    config = kind.config(shapes, stated or checkpoint.metadata, checkpoint.path)
    piece = residence.add(lambda: _load(kind, checkpoint, config, prefix, dtype), grain="leaf_level")
    return piece, config["hidden_size"]


def _load(kind: _Kind, checkpoint: Checkpoint, config: Mapping[str, Any], prefix: str, dtype: torch.dtype) -> Network:
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        module, inner = kind.build(config)
    wanted = set(inner.state_dict())
    tensors = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors().items()}
    split = split_fp8(tensors, checkpoint.metadata, checkpoint.path, keep=kind.keeps_8_bit, prefix=prefix)
    state = dict(split.tensors) | {f"{path}.weight": weight for path, (weight, _) in split.layers.items()}
    build_module(lambda: inner, {name: t for name, t in state.items() if name in wanted}, checkpoint.path)
    place_fp8_layers(inner, split.layers)
    outer = "" if inner is module else "text_model."
    packed_weights = {f"{outer}{path}.weight" for path in split.layers}
    return Network(module.eval(), {name: dtype for name, _ in module.named_parameters() if name not in packed_weights})


def _tokenizer(path: Path | None) -> Any:
    """Open a tokenizer from `tokenizer.json`, or from `vocab.json` and `merges.txt`, as CLIP's folders have it."""
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

    assert path is not None
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        if file.is_file():
            return PreTrainedTokenizerFast(tokenizer_file=str(file), unk_token=_unknown(path))
        if (path / "vocab.json").is_file():
            return CLIPTokenizer.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # the Rust side raises a bare Exception
        what = said("is no tokenizer.json: {error}", error=error)
        raise ModelError(path, what, remedy="Download it again") from error
    raise ModelError(file, "no such file", expected="tokenizer.json, or vocab.json", remedy="Check the path")


def _unknown(path: Path) -> str | None:
    """Return the token for what is unknown, which `tokenizer_config.json` names; Llama 3 has none."""
    file = path / "tokenizer_config.json"
    token = read_json_file(file).get("unk_token") if file.is_file() else None
    return token if isinstance(token, str) else None
