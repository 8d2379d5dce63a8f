"""What is to be said of a video beside its plan: what of its prompts is not taken in, and what its guide costs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..checks import first_few
from ..families.opened import OpenedModel
from ..plan.plan import SamplingPlan
from ..plan.steering import cost_text
from ..stack.loaded import LoadedStack
from .guide import Guide
from .request import Clip, GenerationRequest


def prompt_notes(
    model: OpenedModel, request: GenerationRequest, loaded: LoadedStack, plan: SamplingPlan
) -> tuple[str, ...]:
    """Return a line of text for everything that is to be said of the prompts."""
    notes = list(_of_prompt("prompt", request.prompt, model))
    if plan.reads_negative:
        notes += _of_prompt("negative prompt", request.negative_prompt, model)
    elif request.negative_prompt:
        notes.append("negative prompt: cfg is 1 at every step, so it is not read")
    return (*notes, *_missing_triggers(request.prompt, loaded))


def guide_notes(
    model: OpenedModel, clip: Clip, plan: SamplingPlan, request: GenerationRequest, guide: Guide | None
) -> tuple[str, ...]:
    """Return a line of text for everything that is to be said of a guide: what it costs, what it is not told."""
    if guide is None:
        return ()
    notes: list[str] = [cost_text(plan, model.spec, guide.model.spec, clip.latent_shape)]
    if clip.first is not None and not guide.takes_pictures:
        notes.append(f"guide: {guide.model.spec.title} is told of no picture, its LoRAs act on what the texts say")
    assert isinstance(guide.stack, LoadedStack), "generate() has loaded it"
    return (*notes, *(f"guide: {note}" for note in _missing_triggers(request.prompt, guide.stack)))


def _of_prompt(name: str, prompt: str, model: OpenedModel) -> Iterator[str]:
    """Say what of a prompt is not taken in."""
    if unknown := model.unknown_words(prompt):
        yield f"{name}: the text encoder does not know {', '.join(map(repr, unknown))}"
    if (num_tokens := model.num_tokens(prompt)) > model.max_tokens:
        yield f"{name}: of its {num_tokens} tokens only the first {model.max_tokens} are read"


def _missing_triggers(prompt: str, loaded: LoadedStack) -> Iterator[str]:
    """Say which LoRAs that act wait for a word that the prompt does not have."""
    for lora in loaded.loras:
        acts = any(lora.entry.strength_on(expert) for expert in lora.halves())
        missing = [word for word in lora.trigger_words if not _says(prompt, word)]
        if acts and missing:
            words = f"trigger word{'s' if len(missing) > 1 else ''} {first_few(map(repr, missing))}"
            yield f"prompt: it lacks the {words} of LoRA {lora.name!r}"


def _says(prompt: str, words: str) -> bool:
    """Say whether a prompt has the words as they are, in any case and with any white space between them.

    Languages that are written without spaces have their words inside others.
    """
    pattern = r"\s+".join(map(re.escape, words.split()))
    return re.search(rf"(?<![0-9A-Za-z_]){pattern}(?![0-9A-Za-z_])", prompt, re.IGNORECASE) is not None
