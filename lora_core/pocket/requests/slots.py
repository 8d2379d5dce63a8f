"""A caption read into its slots, so that an answer can be right in part; and the caption that slots make."""

import re
from dataclasses import dataclass, replace
from typing import Any

from .. import world

NAMES = (*world.SHAPES, *world.OWN_COLOURS)
_CAPTION = re.compile(r"a (?P<subject>\S+(?: \S+)*?) (?P<path>moves \S+|\S+) on a (?P<background>\S+) background")


@dataclass(frozen=True)
class Slots:
    """What a caption says; `others` are words of the user's own in the subject, and a slot they stand for is empty."""

    colour: str = ""
    shape: str = ""
    motion: str = ""
    background: str = ""
    others: tuple[str, ...] = ()

    def with_value(self, slot: str, value: str) -> "Slots":
        """Return the same, but for one slot."""
        changed: dict[str, Any] = {slot: value}
        return replace(self, **changed)

    @property
    def caption(self) -> str:
        """Say the slots; words of the user's own stand before the colour, or in the place of an empty slot."""
        words = [*self.others, *(word for word in (self.colour, self.shape) if word)]
        if self.colour and not self.shape:
            words = [self.colour, *self.others]
        path = f"moves {self.motion}" if self.motion in world.DIRECTIONS else self.motion
        return f"a {' '.join(words)} {path} on a {self.background} background"


DEFAULTS = Slots("red", "circle", "right", "plain")
"""What stands for a slot that a request leaves open."""


def slots_of(caption: str) -> Slots | None:
    """Read a caption; nothing if it is not one.

    >>> slots_of("a sks red circle moves up on a plain background")
    Slots(colour='red', shape='circle', motion='up', background='plain', others=('sks',))
    """
    if not (match := _CAPTION.fullmatch(caption)):
        return None
    words = match["subject"].split(" ")
    colour = next((word for word in words if word in world.COLOURS), "")
    shape = next((word for word in words if word in NAMES), "")
    others = tuple(word for word in words if word not in (colour, shape))
    motion = match["path"].removeprefix("moves ")
    if match["path"].startswith("moves ") and motion not in world.DIRECTIONS:
        return None
    return Slots(colour, shape, motion, match["background"], others)
