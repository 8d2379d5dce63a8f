"""What a family tells of its network's modules for LoRAs that act in a part of the clip: which tokens each meets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

#: What a module meets: tokens of the video alone, in the order frames, rows, columns; those and the text's behind them;
#: those of the text in a cross-attention; or something that has no place in the clip, as the time or a whole text.
Met = Literal["video", "joint", "text", "global"]


@dataclass(frozen=True)
class RegionRules:
    """Which tokens the modules of a family's networks meet, told by their targets; the rest meets what has no place.

    Attributes:
        video, joint, text: regular expressions on whole targets, biases without their suffix; "" for none. What is met
            as `text` lies right inside a cross-attention.
        queries: the names of the modules beside those of the text that make the queries, in order.
        output: the name of the module that takes what has been attended to.
    """

    video: str
    joint: str = ""
    text: str = ""
    queries: tuple[str, ...] = ()
    output: str = ""

    def met_by(self, target: str) -> Met:
        """Return what the module of a target meets."""
        path = target.removesuffix(".bias")
        rules: tuple[tuple[Met, str], ...] = (("video", self.video), ("joint", self.joint), ("text", self.text))
        return next((met for met, rule in rules if rule and re.fullmatch(rule, path)), "global")
