"""The settings of a run: its noise levels, its guidance, and where the experts change over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..checks import finite_number, known
from ..errors import PlanError
from ..families.base import ModelSpec
from ..wording import said
from .sigmas import check_sigmas, flow_sigmas, karras_sigmas

Boundary = float | Literal["auto"] | None
ScheduleName = Literal["auto", "flow", "karras"]
SCHEDULES: tuple[ScheduleName, ...] = ("auto", "flow", "karras")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run goes, whatever it shows; six steps without guidance unless told otherwise.

    Attributes:
        num_steps: how often the network is evaluated.
        shift: of the flow schedule: how long the run stays at high noise.
        schedule: how the noise levels are spaced: "flow" by the shift (`flow_sigmas`), "karras" as Cosmos Predict2 has
            it (`karras_sigmas`), "auto" as the model's own runs do.
        sigmas: noise levels of one's own, down to 0, instead of num_steps, shift, schedule and denoise.
        cfg: guidance, one value or (high_noise, low_noise); 1 costs one forward pass per step and needs no negative
            prompt, any other two.
        boundary: the sigma from which the high-noise expert works; "auto" is the model's own, None one expert only.
        denoise: the last share of the schedule to do, below 1 when it starts from latents; see `flow_sigmas`.
    """

    num_steps: int = 6
    shift: float = 5.0
    schedule: ScheduleName = "auto"
    sigmas: Sequence[float] | None = None
    cfg: float | tuple[float, float] = 1.0
    boundary: Boundary = "auto"
    denoise: float = 1.0

    def __post_init__(self) -> None:
        known(self.schedule, SCHEDULES, "schedule", PlanError)
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
        for name in ("num_steps", "shift", "schedule", "denoise"):
            if (value := getattr(self, name)) != getattr(RunSettings, name):
                what = said(
                    "{value!r} would do nothing beside sigmas, which are all the noise levels there are", value=value
                )
                raise PlanError(name, what, remedy="Give one of the two")

    def levels(self, spec: ModelSpec | None = None) -> tuple[float, ...]:
        """Return the N + 1 noise levels of the run, of a model's own schedule where none is named, or what is wrong."""
        if self.sigmas is not None:
            return check_sigmas(self.sigmas)
        if self.used_schedule(spec) == "flow":
            return flow_sigmas(self.num_steps, self.shift, denoise=self.denoise)
        if self.shift != RunSettings.shift:
            what = said("{value!r} would do nothing in the schedule karras", value=self.shift)
            raise PlanError("shift", what, expected="schedule flow", remedy="Leave it out, or choose that schedule")
        return karras_sigmas(self.num_steps, denoise=self.denoise)

    def used_schedule(self, spec: ModelSpec | None = None) -> str:
        """Return the name of the schedule of noise levels that are not one's own."""
        if self.schedule != "auto":
            return self.schedule
        return "flow" if spec is None else spec.default_schedule

    def used_shift(self, spec: ModelSpec | None = None) -> float | None:
        """Return the shift of the schedule; None where it has none, or the noise levels are one's own."""
        return float(self.shift) if self.sigmas is None and self.used_schedule(spec) == "flow" else None

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
