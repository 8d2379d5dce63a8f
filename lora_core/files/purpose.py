"""What a LoRA is for: what its metadata says, else what its file's name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Purpose = Literal["speed", "style", "character", "motion", "quality", ""]

#: The metadata entry in which this project states the purpose.
_KEY = "kind"

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


def purpose_of(metadata: Mapping[str, str], stem: str) -> Purpose:
    """Return the purpose of a LoRA with this metadata and this file name, "" where neither tells it."""
    stated = next((purpose for purpose in get_args(Purpose) if purpose and metadata.get(_KEY) == purpose), None)
    if stated is not None:
        return stated
    words = ((purpose, rf"(?<![a-z])({pattern})(?![a-z])") for pattern, purpose in _NAMES)
    return next((purpose for purpose, pattern in words if re.search(pattern, stem.lower())), "")
