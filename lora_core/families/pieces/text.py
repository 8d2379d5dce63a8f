"""Text encoders of the T5 kind, UMT5 for Wan and T5 for Cosmos: prompts to embeddings.

Letters: B prompts, L tokens, T text width.
Dtype policy: computes in the model's dtype, but never in float16, in which T5s overflow; there it takes bfloat16.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoints.building import build_module
from ...checkpoints.checkpoint import Checkpoint, open_checkpoint, read_json_file
from ...checkpoints.fp8 import place_fp8_layers, split_fp8
from ...checkpoints.residency import Network, Piece, Residence
from ...errors import ModelError
from ...wording import said
from .config import T5Kind, stated_config, t5_config, t5_kind
from .tokenizers import SentencePieceTokenizer, Tokenizer, open_tokenizer, unknown_words

#: Transformers see this many text tokens, the rest zeros.
MAX_TOKENS = 512

#: What may stand before every name, longest first: ComfyUI's saved text encoders, or nothing.
_PREFIXES = (
    "text_encoders.umt5xxl.transformer.",
    "text_encoders.t5xxl.transformer.",
    "umt5xxl.transformer.",
    "t5xxl.transformer.",
    "",
)
_SIGN = "encoder.block.0.layer.0.SelfAttention.q.weight"
_IN_FILE_TOKENIZER = "spiece_model"
_NOT_OF_THE_ENCODER = (_IN_FILE_TOKENIZER, "decoder.", "lm_head.")


class TextEncoder:
    """The reader of prompts; the network itself is opened when the first prompt is encoded."""

    def __init__(self, piece: Piece, tokenizer: Tokenizer, width: int, clean: Callable[[str], str]) -> None:
        self.width = width
        self.piece = piece
        self._tokenizer = tokenizer
        self._clean = clean

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return embeddings (B, 512, T) on the compute device, zero after each prompt's end, like diffusers'."""
        tokens = [self._tokens(prompt)[:MAX_TOKENS] for prompt in prompts]
        longest = max(map(len, tokens))
        network = self.piece.use()
        device = self.piece.residence.device
        ids_BL = torch.tensor([row + [0] * (longest - len(row)) for row in tokens], device=device)
        mask_BL = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in tokens], device=device)
        with torch.no_grad():
            states_BLT = network(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        embeds = states_BLT.new_zeros(len(tokens), MAX_TOKENS, self.width)
        embeds[:, :longest] = states_BLT * mask_BL[..., None]
        return embeds

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens a prompt has; those beyond `MAX_TOKENS` are not seen by the model."""
        return len(self._tokens(prompt))

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Return the words of a prompt that mean nothing to this text encoder."""
        return unknown_words(self._tokenizer, self._clean(prompt))

    def _tokens(self, prompt: str) -> list[int]:
        return self._tokenizer.encode(self._clean(prompt))


def as_it_is(prompt: str) -> str:
    """Return a prompt as it was given."""
    return prompt


def clean_prompt(prompt: str) -> str:
    """Mend broken characters, undo HTML escapes and fold white space, as Wan's own code does before tokenizing."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(prompt))).split())


def open_text_encoder(
    path: Path,
    tokenizer: Path | None,
    residence: Residence,
    dtype: torch.dtype,
    *,
    kind: T5Kind | None = None,
    clean: Callable[[str], str] = clean_prompt,
) -> TextEncoder:
    """Read the headers of a text encoder, single file or folder, and open its tokenizer.

    `kind` is what it must be, None where either will do; `clean` is what is done to a prompt before it is tokenized.
    """
    checkpoint = open_checkpoint(path)
    prefix = _prefix(checkpoint)
    config = _config(checkpoint, prefix, kind)
    compute_dtype = torch.bfloat16 if dtype == torch.float16 else dtype
    piece = residence.add(lambda: _load(checkpoint, config, prefix, compute_dtype), grain="leaf_level")
    return TextEncoder(piece, _tokenizer(checkpoint, prefix, tokenizer), config["d_model"], clean)


def _prefix(checkpoint: Checkpoint) -> str:
    return next((prefix for prefix in _PREFIXES if prefix + _SIGN in checkpoint.shapes), "")


def _config(checkpoint: Checkpoint, prefix: str, kind: T5Kind | None) -> dict[str, Any]:
    file = checkpoint.path / "config.json"
    stated = read_json_file(file) if file.is_file() else stated_config(checkpoint.metadata, checkpoint.path)
    shapes = {name.removeprefix(prefix): shape for name, shape in checkpoint.shapes.items()}
    return t5_config(shapes, stated, kind, checkpoint.path)


def _tokenizer(checkpoint: Checkpoint, prefix: str, given: Path | None) -> Tokenizer:
    if given is not None:
        return open_tokenizer(given)
    for name in (_IN_FILE_TOKENIZER, prefix + _IN_FILE_TOKENIZER):
        if name in checkpoint.shapes:
            return SentencePieceTokenizer(bytes(checkpoint.tensors()[name].tolist()), checkpoint.path)
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    for candidate in (folder, folder.parent / "tokenizer"):
        if (candidate / "tokenizer.json").is_file() or (candidate / "spiece.model").is_file():
            return open_tokenizer(candidate)
    raise ModelError(
        checkpoint.path,
        "no tokenizer for this text encoder",
        expected=said("{first} or {second}", first=folder / "tokenizer.json", second=folder / "spiece.model"),
        remedy="Put one there or pass its path as tokenizer",
    )


def _load(checkpoint: Checkpoint, config: Mapping[str, Any], prefix: str, dtype: torch.dtype) -> Network:
    from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

    tensors = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors().items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_NOT_OF_THE_ENCODER)}
    split = split_fp8(tensors, checkpoint.metadata, checkpoint.path, keep=_stays_8_bit, prefix=prefix)
    state = dict(split.tensors) | {f"{path}.weight": weight for path, (weight, _) in split.layers.items()}
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    make = {"t5": lambda: T5EncoderModel(T5Config(**config)), "umt5": lambda: UMT5EncoderModel(UMT5Config(**config))}
    module = build_module(make[t5_kind(state)], state, checkpoint.path)
    module.get_submodule("encoder.embed_tokens").weight = module.get_submodule("shared").weight  # moved once
    place_fp8_layers(module, split.layers)
    packed = {f"{path}.weight" for path in split.layers}
    return Network(module, {name: dtype for name, _ in module.named_parameters() if name not in packed})


def _stays_8_bit(name: str, tensor: Tensor) -> bool:
    """Keep attention and gate weights 8-bit; transformers casts the activation to the dtype of `wo`'s weight."""
    is_linear = name.startswith("encoder.block.") and name.endswith(".weight") and tensor.ndim == 2
    return is_linear and not name.endswith(("wo.weight", "relative_attention_bias.weight"))
