"""Advice: what looks wrong in a stack or plan by the field's rules, as data with its evidence; never a refusal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from ..wording import Said, joined, said

Level = Literal["note", "warning"]
_LEVELS = {"note": said("note: "), "warning": said("warning: ")}


@dataclass(frozen=True)
class Advice:
    """One thing to know about one LoRA, or about the whole.

    Attributes:
        entry: the LoRA's name in the stack; None when it is about the whole.
        rule: a short name that stays the same, to filter or translate by.
        text: what is the case, with its numbers, and what to do.
        evidence: where the rule comes from.
        level: "warning" where the result probably suffers, "note" where it is only good to know.
    """

    entry: str | None
    rule: str
    text: str
    evidence: str
    level: Level = "warning"

    def __str__(self) -> str:
        return str(self.told())

    def told(self) -> Said:
        """Return it as a line of a report."""
        whom = [f"{self.entry}: "] if self.entry else []
        return joined("", [_LEVELS[self.level], *whom, self.text, f" [{self.rule}]"])

    def to_dict(self) -> dict[str, str | None]:
        """Return plain data for a record."""
        return asdict(self)
