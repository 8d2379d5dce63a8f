"""What a LoRA is for: what its metadata says, else what its names tell: the file's, its titles, its folder's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Purpose = Literal["speed", "style", "character", "motion", "quality", "length", ""]
PURPOSES: tuple[Purpose, ...] = tuple(purpose for purpose in get_args(Purpose) if purpose)

#: The metadata entry in which this project states the purpose.
KIND_KEY = "kind"

#: Word in a file's name -> purpose, the most telling first. `\d-?steps` is how distilled LoRAs call themselves.
_NAMES: tuple[tuple[str, Purpose], ...] = (
    (
        r"lightx2v|lightning|distill(ed)?|causvid|accvid(eo)?|fastwan|rcm|turbo|self[\W_]?forcing|dmd2?|lcm|speed",
        "speed",
    ),
    (r"(?<!\d)\d[\W_]?steps?", "speed"),
    (r"longer|length|extend(s|ed)?|extension|riflex|long[\W_]?videos?", "length"),
    (r"style", "style"),
    (r"character|person|face|identity", "character"),
    (r"motion|movement|camera|dolly|orbit|zoom", "motion"),
    (r"quality|details?|detailer|enhancer?|reward|hps(v2)?(\.?1)?|mps", "quality"),
)


#: The metadata entries under which trainers keep a LoRA's name.
_TITLES = ("ss_output_name", "modelspec.title", "name")


def purpose_of(metadata: Mapping[str, str], stem: str, folder: str = "") -> Purpose:
    """Return the purpose of a LoRA with this metadata, file name and folder name, "" where nothing tells it.

    Published pairs are folders with a `high_noise_model.safetensors` and its twin, so the folder speaks last.
    """
    stated = next((purpose for purpose in PURPOSES if metadata.get(KIND_KEY) == purpose), None)
    if stated is not None:
        return stated
    names = (stem, *(metadata.get(key, "") for key in _TITLES), folder)
    return next((purpose for name in names if (purpose := _purpose_in(name))), "")


def _purpose_in(name: str) -> Purpose:
    words = ((purpose, rf"(?<![a-z])({pattern})(?![a-z])") for pattern, purpose in _NAMES)
    return next((purpose for purpose, pattern in words if re.search(pattern, name.lower())), "")
