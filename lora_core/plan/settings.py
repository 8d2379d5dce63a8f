"""The settings of a run: its noise levels, its guidance, and where the experts change over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..checks import finite_number
from ..errors import PlanError
from ..wording import said
from .sigmas import check_sigmas, flow_sigmas

Boundary = float | Literal["auto"] | None


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run goes, whatever it shows; six steps without guidance unless told otherwise.

    Attributes:
        num_steps: how often the network is evaluated.
        shift: of the flow schedule: how long the run stays at high noise.
        sigmas: noise levels of one's own, down to 0, instead of num_steps, shift and denoise.
        cfg: guidance, one value or (high_noise, low_noise); 1 costs one forward pass per step and needs no negative
            prompt, any other two.
        boundary: the sigma from which the high-noise expert works; "auto" is the model's own, None one expert only.
        denoise: the last share of the schedule to do, below 1 when it starts from latents; see `flow_sigmas`.
    """

    num_steps: int = 6
    shift: float = 5.0
    sigmas: Sequence[float] | None = None
    cfg: float | tuple[float, float] = 1.0
    boundary: Boundary = "auto"
    denoise: float = 1.0

    def __post_init__(self) -> None:
        if self.sigmas is not None:
            if not isinstance(self.sigmas, Iterable):
                raise PlanError(
                    "sigmas",
                    said("{sigmas!r} are no list", sigmas=self.sigmas),
                    expected="noise levels from 1 down to 0",
                    remedy="Give a list",
                )
            object.__setattr__(self, "sigmas", tuple(self.sigmas))
            self._check_nothing_beside_sigmas()

    def _check_nothing_beside_sigmas(self) -> None:
        """Refuse what would do nothing; one that equals its default cannot be told from one not given."""
        for name in ("num_steps", "shift", "denoise"):
            if (value := getattr(self, name)) != getattr(RunSettings, name):
                what = said(
                    "{value!r} would do nothing beside sigmas, which are all the noise levels there are", value=value
                )
                raise PlanError(name, what, remedy="Give one of the two")

    def levels(self) -> tuple[float, ...]:
        """Return the N + 1 noise levels of the run, or say what is wrong with them."""
        if self.sigmas is None:
            return flow_sigmas(self.num_steps, self.shift, denoise=self.denoise)
        return check_sigmas(self.sigmas)

    @property
    def used_shift(self) -> float | None:
        """The shift of the schedule; None where the noise levels are one's own."""
        return float(self.shift) if self.sigmas is None else None

    def cfg_pair(self) -> tuple[float, float]:
        """Return the guidance of (high_noise, low_noise)."""
        given = list(self.cfg) if isinstance(self.cfg, (tuple, list)) else [self.cfg, self.cfg]
        if len(given) != 2:
            raise PlanError(
                "cfg",
                said("{count} values", count=len(given)),
                expected="one number, or (high_noise, low_noise)",
                remedy="Give one or two",
            )
        high, low = (finite_number(value, "cfg", PlanError) for value in given)
        if min(high, low) < 0:
            what, expected = (
                said("{number:g} is negative", number=min(high, low)),
                "1 without a negative prompt, usually 1 to 6",
            )
            raise PlanError("cfg", what, expected=expected, remedy="Choose a number in that range")
        return high, low
