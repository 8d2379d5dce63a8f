"""The refining of a prompt: any refiner, whose failure never stands in the way of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from ..checks import first_line, known, typed
from ..errors import LoraCoreError, RequestError
from ..wording import joined, said
from .answer_faults import answer_fault, prompt_fault
from .command import CommandRefiner
from .instructions import instructions_for
from .languages import LANGUAGES
from .naming import name_of
from .refined import Refined, Refiner
from .spans import Span, protected_spans

if TYPE_CHECKING:
    from ..families.base import ModelSpec


@typed(RequestError)
def refine(prompt: str, refiner: Refiner, *, protected: Sequence[str] = (), language: str = "") -> Refined:
    """Return a prompt as a refiner writes it; where it fails, or loses what has to stay, as it was, with the reason.

    Args:
        prompt: what was asked for.
        refiner: any callable; `LocalRefiner`, `EndpointRefiner` and `CommandRefiner` are such.
        protected: words that have to stay where the prompt has them, such as a stack's trigger words. Quoted text and
            numbers have to anyway.
        language: what the answer has to be in, such as "en"; "" for what the refiner itself says.

    Raises:
        RequestError: nobody here can tell that language, or an argument is of another kind.
    """
    if language:
        known(language, LANGUAGES, "language", RequestError)
    started = time.perf_counter()
    better, fault = prompt, prompt_fault(prompt)
    spans: tuple[Span, ...] = ()
    if not fault:
        spans = protected_spans(prompt, protected)
        better, fault = _asked(prompt, refiner, spans, language)
    return Refined(
        given=prompt,
        prompt=prompt if fault else better,
        by=refiner_name(refiner),
        fault=fault,
        seconds=time.perf_counter() - started,
        kept=tuple(span.text for span in spans),
        digest=_told(refiner, "digest"),
    )


def held_open(refiner: Refiner | None) -> AbstractContextManager[object]:
    """Return a block within which a refiner that has to be opened stays so from prompt to prompt."""
    return refiner if isinstance(refiner, AbstractContextManager) else nullcontext()


def refiner_name(refiner: Refiner) -> str:
    """Return what a record calls a refiner."""
    if isinstance(refiner, CommandRefiner):
        return f"`{refiner.command}`"
    return _told(refiner, "name") or name_of(refiner)


def fitted(refiner: Refiner, spec: ModelSpec, *, has_picture: bool = False) -> Refiner:
    """Return a refiner that writes for a video model, where it is one that can and nobody has told it how to write."""
    name = instructions_for(spec, has_picture=has_picture)
    able: Any = refiner
    return able.writing_as(name) if name and hasattr(able, "writing_as") else refiner


def check_refiner(refiner: Refiner | None) -> None:
    """Raise where a refiner cannot be called."""
    if refiner is not None and not callable(refiner):
        what = said("{refiner!r:.60} cannot be called", refiner=refiner)
        raise RequestError("refiner", what, expected="prompt -> prompt", remedy="Give a callable, or none")


def _asked(prompt: str, refiner: Refiner, spans: Sequence[Span], language: str) -> tuple[str, str]:
    """Return what a refiner makes of a prompt, and what is wrong with that."""
    able: Any = refiner
    try:
        if spans and hasattr(able, "protecting"):
            able = able.protecting([span.text for span in spans])
        if not language and hasattr(able, "language_for"):
            language = able.language_for(prompt)
        answer: object = able(prompt)
    except LoraCoreError as error:
        return prompt, error.what if error.where == "refiner" else joined(": ", [error.where, error.what])
    except Exception as error:  # somebody else's program: whatever it raises, the prompt is still there
        return prompt, said("it failed with {kind}: {why}", kind=type(error).__name__, why=first_line(error))
    fault = answer_fault(answer, prompt, spans, language)
    return str(answer).strip(), fault


def _told(refiner: object, what: str) -> str:
    """Return what a refiner tells of itself, or "" where it does not, or its files cannot be read."""
    with suppress(LoraCoreError):
        told = getattr(refiner, what, "")
        return told if isinstance(told, str) else ""
    return ""
