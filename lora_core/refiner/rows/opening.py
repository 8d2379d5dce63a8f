"""The opening of what makes examples: a model's tokenizer, template and ends, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...checkpoints.residency import offline
from ...errors import ModelError
from ..language_model import end_tokens_in
from ..opening import open_tokenizer
from ..sources import LanguageSource
from .examples import ExampleMaker


def open_maker(source: LanguageSource, system: str = "") -> ExampleMaker:
    """Open what makes examples for a model.

    Raises:
        ModelError: its tokenizer cannot be opened, or has no chat template, or nothing says what ends an answer.
    """
    tokenizer = open_tokenizer(source)
    if not tokenizer.chat_template:
        remedy = "Take an instruct model, or put a chat_template.jinja into its folder"
        raise ModelError(source.name, "its tokenizer has no chat template", remedy=remedy)
    return ExampleMaker(source.name, tokenizer, _end_tokens(source, tokenizer), system)


def config_of(source: LanguageSource) -> Any:
    """Return the configuration of a model, as transformers has it."""
    from transformers import AutoConfig

    gguf = {} if source.gguf is None else {"gguf_file": source.gguf.name}
    with offline():
        return AutoConfig.from_pretrained(str(source.folder), **gguf)


def _end_tokens(source: LanguageSource, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end an answer, by the file that says it first."""
    from transformers import GenerationConfig

    stated = []
    if source.gguf is None and (Path(source.folder) / "generation_config.json").is_file():
        with offline():
            stated.append(GenerationConfig.from_pretrained(str(source.folder)).eos_token_id)
    stated += [getattr(config_of(source), "eos_token_id", None), tokenizer.eos_token_id]
    return end_tokens_in(stated, source.name)
