"""What became of a prompt that a refiner was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..wording import Said, said

#: A prompt -> a fuller one. One that has them is asked for its `name` and `digest`, is told what it writes for by
#: `writing_as(instructions)` and what has to stay by `protecting(words)`, and tells by `language_for(prompt)` in which
#: language it answers.
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
        kept: the parts of the prompt that had to stay: trigger words, quoted text, numbers.
        digest: a hash of the language model's files; "" for a refiner that has none here.
    """

    given: str
    prompt: str
    by: str
    fault: str
    seconds: float
    kept: tuple[str, ...] = ()
    digest: str = ""

    def row(self) -> dict[str, object]:
        """Return what the record says of it."""
        return {
            "by": self.by,
            "given": self.given,
            "prompt": self.prompt,
            "kept": list(self.kept),
            "fault": str(self.fault) or None,
            **({"digest": self.digest} if self.digest else {}),
            "seconds": round(self.seconds, 4),
        }

    def note(self) -> Said:
        """Return what is to be said of it."""
        if self.fault:
            return said("refiner: {fault}; the prompt is used as it was", fault=self.fault)
        return said("refiner: the prompt is now {prompt!r}", prompt=self.prompt)
