"""The refining of a prompt: any refiner, whose failure never stands in the way of a run."""

from __future__ import annotations

import time

from ..checks import first_line, shown
from ..errors import LoraCoreError, RequestError
from ..wording import said
from .command import CommandRefiner
from .naming import name_of
from .refined import Refined, Refiner

#: More than this is no prompt; a text encoder reads 512 tokens.
MAX_LETTERS = 20_000


def refine(prompt: str, refiner: Refiner) -> Refined:
    """Return a prompt as a refiner writes it; where it fails or gives nothing, as it was, with the reason."""
    started = time.perf_counter()
    fault: str = ""
    refined: object = prompt
    try:
        refined = refiner(prompt)
        fault = _fault(refined)
    except LoraCoreError as error:
        fault = error.what
    except Exception as error:  # somebody else's program: whatever it raises, the prompt is still there
        fault = said("it failed with {kind}: {why}", kind=type(error).__name__, why=first_line(error))
    better = prompt if fault else str(refined).strip()
    return Refined(prompt, better, refiner_name(refiner), fault, time.perf_counter() - started)


def refiner_name(refiner: Refiner) -> str:
    """Return what a record calls a refiner."""
    return f"`{refiner.command}`" if isinstance(refiner, CommandRefiner) else name_of(refiner)


def check_refiner(refiner: Refiner | None) -> None:
    """Raise where a refiner cannot be called."""
    if refiner is not None and not callable(refiner):
        what = said("{refiner!r:.60} cannot be called", refiner=refiner)
        raise RequestError("refiner", what, expected="prompt -> prompt", remedy="Give a callable, or none")


def _fault(refined: object) -> str:
    if not isinstance(refined, str):
        return said("it gave {kind} and no text", kind=type(refined).__name__)
    if not refined.strip():
        return said("it gave nothing")
    if len(refined) > MAX_LETTERS:
        return said("it gave {count:,} letters, {start}", count=len(refined), start=shown(refined))
    return ""
