"""Advice: what looks wrong in a stack or plan by the field's rules, as data with its evidence; never a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..files.weights import LoraWeights

Level = Literal["note", "warning"]
Purpose = Literal["speed", "style", "character", "motion", "quality", ""]


@dataclass(frozen=True)
class Advice:
    """Say one thing about one LoRA.

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
        return f"{self.level}: {f'{self.entry}: ' if self.entry else ''}{self.text} [{self.rule}]"

    def to_dict(self) -> dict[str, str | None]:
        """Return plain data for a record."""
        return asdict(self)


@dataclass(frozen=True)
class UsualStrength:
    """Be the range of strengths in which LoRAs of one purpose are used."""

    lowest: float
    highest: float
    evidence: str


_GUIDES = "published guides: character 0.8 to 1, concept and motion 0.6 to 0.8, style 0.3 to 0.8, detail 0.3 to 0.6"

#: Purpose -> the strengths in use, with some room on both sides; "" where the purpose is not known.
USUAL_STRENGTHS: Mapping[Purpose, UsualStrength] = {
    "speed": UsualStrength(0.5, 1.5, "lightx2v's own configurations for Wan 2.2 use 1.0 on both experts"),
    "style": UsualStrength(0.3, 1.2, _GUIDES),
    "character": UsualStrength(0.5, 1.2, _GUIDES),
    "motion": UsualStrength(0.4, 1.2, _GUIDES),
    "quality": UsualStrength(0.2, 1.0, _GUIDES),
    "": UsualStrength(0.0, 2.0, "LoRAs are trained at strength 1"),
}

#: Made for Wan 2.1 and used on Wan 2.2's high-noise expert, a speed LoRA is turned up.
TURNED_UP_SPEED = UsualStrength(
    0.5, 3.0, "Wan 2.1 lightx2v is used at 3 on the high expert: ComfyUI-WanVideoWrapper#1830"
)

#: Word in a file's name -> purpose, the most telling first. `\d-?steps` is how distilled LoRAs call themselves.
_NAMES: tuple[tuple[str, Purpose], ...] = (
    (
        r"lightx2v|lightning|distill(ed)?|causvid|accvid(eo)?|fastwan|rcm|turbo|self[\W_]?forcing|dmd2?|lcm|speed",
        "speed",
    ),
    (r"(?<!\d)\d[\W_]?steps?", "speed"),
    (r"style", "style"),
    (r"character|person|face|identity", "character"),
    (r"motion|movement|camera|dolly|orbit|zoom", "motion"),
    (r"quality|details?|detailer|enhancer?|reward|hps(v2)?(\.?1)?|mps", "quality"),
)


def purpose_of(weights: LoraWeights) -> Purpose:
    """Return what a LoRA is for: what its metadata says, else what its file's name tells, else ""."""
    if weights.kind in USUAL_STRENGTHS and weights.kind:
        return weights.kind  # type: ignore[return-value]  # a key of USUAL_STRENGTHS
    name = (weights.path.stem if weights.path else weights.name).lower()
    return next((purpose for words, purpose in _NAMES if re.search(rf"(?<![a-z])({words})(?![a-z])", name)), "")
