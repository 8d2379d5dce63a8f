"""The rate of a clip: how many frames per second can be written and played."""

from __future__ import annotations

from ..checks import finite_number
from ..errors import LoraCoreError
from ..wording import said

#: What counts as the rate of a file that does not say its own.
DEFAULT_FPS = 16.0
#: From a frame in a minute and a half up to what slow motion is filmed at.
LOWEST_FPS, HIGHEST_FPS = 0.01, 240.0


def check_fps(fps: object, where: object, error: type[LoraCoreError]) -> float:
    """Return a rate that every format can hold, or say what is wrong with it."""
    number = finite_number(fps, str(where), error)
    if not LOWEST_FPS <= number <= HIGHEST_FPS:
        what = said("cannot play {number:g} frames per second", number=number)
        raise error(
            where,
            what,
            expected=said("{low:g} to {high:g}", low=LOWEST_FPS, high=HIGHEST_FPS),
            remedy="Choose a number in that range",
        )
    return number
