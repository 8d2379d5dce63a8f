"""The pocket model's text encoder as a ComfyUI CLIP: core's T5 in the pocket's size and a word-level tokenizer."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from comfy.text_encoders.t5 import T5

from ..lora_core.families.pieces.config import stated_config
from ..lora_core.families.pieces.text import MAX_TOKENS, clean_prompt
from ..lora_core.families.pieces.tokenizers import JsonTokenizer, unknown_words
from ..lora_core.families.wan.pocket import pocket_paths

_log = logging.getLogger(__name__)

#: What core calls Wan's text encoder, in tokens, in tokenizer options and in files it saves.
_NAME = "umt5xxl"
_PAD, _END = 0, 1


def load_pocket_clip(*, disable_dynamic: bool = False) -> CLIP:
    """Read the pocket's text encoder; the CLIP gives conditionings (1, 512, 64) float32, zero after the prompt's end.

    Args:
        disable_dynamic: have a plain ModelPatcher, which the host asks for where it cannot use dynamic VRAM.
    """
    path = pocket_paths().text_encoder
    tensors, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    encoder = {
        "name": _NAME,
        "clip_model": SDClipModel,
        "model_class": T5,
        # transformers calls the same function gelu_new.
        "textmodel_json_config": stated_config(metadata, path) | {"dense_act_fn": "gelu_pytorch_tanh"},
        "special_tokens": {"end": _END, "pad": _PAD},
        "enable_attention_masks": True,
        "zero_out_masked": True,
    }
    clip = CLIP(
        SimpleNamespace(params=encoder, clip=SD1ClipModel, tokenizer=_PocketTokenizer),
        parameters=comfy.utils.calculate_parameters(tensors),
        state_dict=[tensors],
        model_options={"dtype": tensors["shared.weight"].dtype},
        disable_dynamic=disable_dynamic,
    )
    clip.patcher.cached_patcher_init = (_load_patcher, ())
    return clip


def _load_patcher(*, disable_dynamic: bool = False) -> ModelPatcher:
    return load_pocket_clip(disable_dynamic=disable_dynamic).patcher


class _Words(JsonTokenizer):
    """lora_core's tokenizer as core calls one."""

    @classmethod
    def from_pretrained(cls, path: Path) -> _Words:
        return cls(path)

    def __call__(self, text: str) -> dict[str, list[int]]:
        # Core's own Wan text encoder cleans nothing, so a host without this package is left at that.
        text = clean_prompt(text) if find_spec("ftfy") else text
        if unknown := unknown_words(self, text):
            _log.warning("prompt: the pocket's text encoder does not know %s", ", ".join(map(repr, unknown)))
        return {"input_ids": self.encode(text)}

    def get_vocab(self) -> dict[str, int]:
        return dict(self._backend.get_vocab())

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=skip_special_tokens))


class _WeightedWords(SDTokenizer):
    """The words with their emphasis, which is core's, cut and padded to the tokens that Wan sees."""

    def __init__(self, embedding_directory: None = None, tokenizer_data: dict[str, Any] | None = None) -> None:
        super().__init__(
            pocket_paths().tokenizer,
            tokenizer_class=_Words,
            has_start_token=False,
            pad_with_end=False,
            pad_to_max_length=False,
            pad_token=_PAD,
            min_length=MAX_TOKENS,
            max_length=10**8,  # else core makes a second row of what is cut off here
            embedding_size=64,
            embedding_key=_NAME,
            tokenizer_data=tokenizer_data or {},
        )

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **options: Any) -> list[list[tuple]]:
        (row,) = super().tokenize_with_weights(text, return_word_ids, **options)
        if len(row) > MAX_TOKENS:
            _log.warning("prompt: of its %d tokens only the first %d are read", len(row), MAX_TOKENS)
        return [row[:MAX_TOKENS]]


class _PocketTokenizer(SD1Tokenizer):
    """The tokenizer of the CLIP, under the name of Wan's text encoder."""

    def __init__(self, embedding_directory: None = None, tokenizer_data: dict[str, Any] | None = None) -> None:
        super().__init__(embedding_directory, tokenizer_data or {}, name=_NAME, tokenizer=_WeightedWords)
