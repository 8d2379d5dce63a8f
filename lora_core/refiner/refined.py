"""What became of a prompt that a refiner was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..wording import Said, said

#: A prompt -> a fuller one.
Refiner: TypeAlias = "Callable[[str], str]"


@dataclass(frozen=True)
class Refined:
    """What became of a prompt.

    Attributes:
        given: as it was before.
        prompt: what is made; `given` itself where the refiner failed.
        by: the refiner, as a record names it.
        fault: why the refiner's word does not count; "" where it does.
        seconds: how long it took.
    """

    given: str
    prompt: str
    by: str
    fault: str
    seconds: float

    def row(self) -> dict[str, object]:
        """Return what the record says of it; the request beside it has the prompt that was made."""
        fault = str(self.fault) or None
        return {"by": self.by, "given": self.given, "fault": fault, "seconds": round(self.seconds, 4)}

    def note(self) -> Said:
        """Return what is to be said of it."""
        if self.fault:
            return said("refiner: {fault}; the prompt is used as it was", fault=self.fault)
        return said("refiner: the prompt is now {prompt!r}", prompt=self.prompt)
