"""The guard against losses that are no numbers any more, or explode: it stops a training before it ruins itself."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from ..errors import TrainingError
from ..wording import said

#: A loss this many times the usual one of the last steps is an explosion; a reward's is below 0 where it goes well.
_EXPLOSION = 20.0
_WINDOW, _FEWEST = 50, 10


class DivergedError(TrainingError):
    """A training that has ruined itself, as it would again."""


class Guard:
    """The usual loss of one expert's last steps."""

    def __init__(self, recent: Sequence[float] = ()) -> None:
        self._recent: deque[float] = deque(recent, maxlen=_WINDOW)

    def check(self, where: str, loss: float, grad_norm: float, last_good: Callable[[], str]) -> None:
        """Raise where a step's loss or gradient says that the training is lost; `last_good` says what is left of it."""
        usual = sorted(map(abs, self._recent))[len(self._recent) // 2] if len(self._recent) >= _FEWEST else math.inf
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            what = said("the loss is {loss:g} and its gradient {grad_norm:g} long", loss=loss, grad_norm=grad_norm)
        elif loss > _EXPLOSION * usual:
            what = said("the loss has exploded to {loss:.3g}, from about {usual:.3g}", loss=loss, usual=usual)
        else:
            self._recent.append(loss)
            return
        raise DivergedError(where, what, remedy=said("Lower lr and go on {last_good}", last_good=last_good()))

    def state(self) -> list[float]:
        """Return what a new guard is made from."""
        return list(self._recent)
