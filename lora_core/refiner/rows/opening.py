"""The opening of what makes examples: a model's tokenizer, template and ends, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...checkpoints.residency import offline
from ...errors import ModelError
from ..opening import open_tokenizer
from ..sources import LanguageSource
from .examples import ExampleMaker


def open_maker(source: LanguageSource, system: str = "") -> ExampleMaker:
    """Open what makes examples for a model.

    Raises:
        ModelError: its tokenizer cannot be opened, or has no chat template.
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

    stated = None
    if source.gguf is None and (Path(source.folder) / "generation_config.json").is_file():
        with offline():
            stated = GenerationConfig.from_pretrained(str(source.folder)).eos_token_id
    if stated is None:
        stated = getattr(config_of(source), "eos_token_id", None)
    stated = tokenizer.eos_token_id if stated is None else stated
    if stated is None:
        remedy = "State eos_token_id in its generation_config.json"
        raise ModelError(source.name, "nothing says which token ends an answer", remedy=remedy)
    return tuple(stated) if isinstance(stated, (list, tuple)) else (int(stated),)
