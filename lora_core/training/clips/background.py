"""The background that transparency is laid over: one colour.

Letters: H W pixels.
"""

from __future__ import annotations

import numpy as np

from ...errors import DatasetError
from ...wording import said

Colour = tuple[int, int, int]


def parse_colour(digits: str) -> Colour:
    """Read a colour written as red, green, blue in hexadecimal."""
    try:
        red, green, blue = bytes.fromhex(digits.removeprefix("#"))
    except ValueError:
        expected = "six hexadecimal digits, such as 808080"
        raise DatasetError(
            "background",
            said("{digits!r:.40} is no colour", digits=digits),
            expected=expected,
            remedy="Correct the colour",
        ) from None
    return red, green, blue


def laid_over(pixels: np.ndarray, background: Colour) -> np.ndarray:
    """Lay pixels (H, W, 4) over a colour."""
    share = pixels[..., 3:].astype(np.float32) / 255
    mixed = pixels[..., :3] * share + np.array(background, np.float32) * (1 - share)
    return np.rint(mixed).astype(np.uint8)
