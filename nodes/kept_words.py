"""The words that a refiner has to keep: those that were typed, and the trigger words of LoRAs that are connected."""

from __future__ import annotations

import re

from comfy.model_patcher import ModelPatcher

from ..lora_core import LoraStack
from ..lora_core.stack.trigger_words import trigger_words_of, words_of_files, words_of_stack
from .bridge import stack_on
from .sockets import WanModelHandle
from .stack_files import found

_BETWEEN = re.compile("[,\uff0c\u3001;\uff1b\n]")  # Chinese commas and semicolons too


def words_to_keep(
    typed: str, model: WanModelHandle | ModelPatcher | None = None, stack: LoraStack | None = None
) -> tuple[str, ...]:
    """Return the words, each once.

    Args:
        typed: with commas between them, as the output `trigger_words` has them too.
        model: with LoRAs on it, ours or a MODEL of Split Wan Model or LoRA Stack On Models.
        stack: LoRAs that are on no model yet.
    """
    words = [*map(str.strip, _BETWEEN.split(typed)), *_words_on(model), *_words_in(stack)]
    return tuple({word.lower(): word for word in reversed(words) if word}.values())[::-1]


def _words_on(model: WanModelHandle | ModelPatcher | None) -> tuple[str, ...]:
    if model is None:
        return ()
    if isinstance(model, WanModelHandle):
        return trigger_words_of(model.loaded)
    at_work = stack_on(model)
    return () if at_work is None else words_of_files(at_work.stack.sources)


def _words_in(stack: LoraStack | None) -> tuple[str, ...]:
    return () if stack is None else words_of_stack(found(stack))
