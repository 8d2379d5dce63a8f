"""Where attention stays dense all the same: the first and last steps of a run, and the first blocks of a network.

The first steps settle what the video shows: with none of them dense the paper's fall to 12.8 dB beside dense
attention, with 12 of 50 they reach 23.6 (arXiv 2506.19852, table B). That the last ones matter is what users found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..checks import finite_number, whole_number
from ..errors import PlanError
from ..wording import said

#: How far half precision may move a noise level, as a share of it.
_ROUNDING = 2**-10


@dataclass(frozen=True)
class DenseRule:
    """What stays dense, of however many steps and blocks: a number of them (int), or a share of all (float, 0 to 1).

    A share is rounded down, but to no less than one.

    Attributes:
        first_steps, last_steps: of the whole run, whichever expert does them.
        first_blocks: of each network.

    Raises:
        PlanError: one is below 0, or a share above 1.
    """

    first_steps: int | float = 2
    last_steps: int | float = 1
    first_blocks: int | float = 2

    def __post_init__(self) -> None:
        for name in ("first_steps", "last_steps", "first_blocks"):
            value = getattr(self, name)
            if not isinstance(value, float):
                whole_number(value, name, PlanError, low=0)
            elif not 0 <= finite_number(value, name, PlanError) <= 1:
                raise PlanError(
                    name,
                    said("{value:g} is no share", value=value),
                    expected="0.0 to 1.0, or a whole number of them",
                    remedy="Give 2 for two of them, 0.25 for a quarter of all",
                )

    def of(self, num_steps: int, num_blocks: int) -> DenseParts:
        """Return what stays dense of a run of so many steps through networks of so many blocks.

        Raises:
            PlanError: there are fewer than are to stay dense, or nothing is left that would not be.
        """
        first, last = (_counted(name, getattr(self, name), num_steps) for name in ("first_steps", "last_steps"))
        blocks = _counted("first_blocks", self.first_blocks, num_blocks)
        if first + last >= num_steps:
            what = said(
                "{first} first and {last} last steps of {steps} stay dense, which leaves none",
                first=first,
                last=last,
                steps=num_steps,
            )
            raise PlanError("radial attention", what, remedy="Take more steps, or let fewer be dense")
        if blocks == num_blocks:
            raise PlanError(
                "first_blocks",
                said("all {count} blocks stay dense", count=num_blocks),
                expected=said("fewer than {count}", count=num_blocks),
                remedy="Let fewer blocks stay dense",
            )
        return DenseParts(num_steps, num_blocks, first, last, blocks)


def _counted(name: str, value: int | float, count: int) -> int:
    if isinstance(value, float):
        return max(1, int(value * count)) if value else 0
    return whole_number(value, name, PlanError, low=0, high=count)


@dataclass(frozen=True)
class DenseParts:
    """Which steps and blocks of one run stay dense, in numbers."""

    num_steps: int
    num_blocks: int
    first_steps: int
    last_steps: int
    first_blocks: int

    def is_dense(self, step: int, block: int) -> bool:
        """Say whether a block is dense at a step of the whole run, both counted from 0."""
        radial_steps = range(self.first_steps, self.num_steps - self.last_steps)
        return step not in radial_steps or block < self.first_blocks

    @property
    def share(self) -> float:
        """The share of all self-attentions of the run that stay dense."""
        radial = (self.num_steps - self.first_steps - self.last_steps) * (self.num_blocks - self.first_blocks)
        return 1 - radial / (self.num_steps * self.num_blocks)


def step_at(sigma: float, sigmas: Sequence[float]) -> int:
    """Return the step, counted from 0, that a network asked at this noise level works for.

    A solver may ask between the levels it walks along; what lies between two belongs to the step that goes down there.

    Args:
        sigma: the noise level; a host may have rounded it to half precision.
        sigmas: of the whole run, one more than it has steps, falling.
    """
    nearest = min(range(len(sigmas) - 1), key=lambda i: abs(sigmas[i] - sigma))
    if abs(sigmas[nearest] - sigma) <= _ROUNDING * sigma:
        return nearest
    return max(0, sum(level > sigma for level in sigmas[:-1]) - 1)


def first_step_of(part: Sequence[float], whole: Sequence[float]) -> int:
    """Return the step of a whole run, counted from 0, that a part of it begins with.

    Schedulers place their levels differently, so a part counts from the end of the run that it reaches; only where it
    lies between them its first level is looked up.

    Args:
        part: the noise levels that are walked along, one more than steps, falling.
        whole: of the whole run, as far as they are known.

    Raises:
        PlanError: the part has more steps than the whole.
    """
    num_steps, num_whole = len(part) - 1, len(whole) - 1
    if num_steps > num_whole:
        raise PlanError(
            "steps",
            said("{steps} steps are sampled of a run of {whole}", steps=num_steps, whole=num_whole),
            expected="the steps of all samplers together",
            remedy="Give that many, or 0 where one sampler does the whole run",
        )
    if part[-1] == 0:
        return num_whole - num_steps
    if part[0] >= whole[0] * (1 - _ROUNDING):
        return 0
    return min(step_at(part[0], whole), num_whole - num_steps)
