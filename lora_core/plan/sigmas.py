"""The noise levels of a run: the shifted flow schedule, lists of one's own, and the boundary between the experts.

A sigma is the share of noise, from 1 (noise) to 0 (picture): x_sigma = (1 - sigma) x0 + sigma noise. A run of N steps
has N + 1 sigmas, the last one 0; step i evaluates the network at sigma_i and goes to sigma_(i+1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

from ..checks import finite_number, first_few, number_in_text
from ..errors import PlanError
from ..experts import Expert, expert_at
from ..wording import said

#: ComfyUI's own limit; a larger number of steps is a slip of the finger.
MAX_STEPS = 10_000


def flow_sigmas(num_steps: int, shift: float, *, denoise: float = 1.0) -> tuple[float, ...]:
    """Return N + 1 sigmas `shift u / (1 + (shift - 1) u)`, u evenly from 1 to 0 (arXiv 2403.03206, eq. 23).

    Computed in exact fractions and rounded once, so that step counts which share a noise level share it to the bit.

    Args:
        num_steps: N, how often the network is evaluated.
        shift: how long the run stays at high noise; 1 spaces it evenly, Wan's few-step LoRAs are made for 5.
        denoise: the share of the whole run to do, its last part; below 1 it starts from a picture instead of noise.
            As ComfyUI counts it: the run has int(num_steps / denoise) steps and its last num_steps are kept.
    """
    exact_shift = Fraction(_positive(shift, "shift"))
    total = _total_steps(num_steps, denoise)
    left = range(num_steps, -1, -1)
    sigmas = tuple(float(exact_shift * n / (total + (exact_shift - 1) * n)) for n in left)
    if any(low >= high for high, low in pairwise(sigmas)):
        raise PlanError(
            "shift",
            said("{shift:g} leaves {num_steps} steps no distinct noise levels", shift=shift, num_steps=num_steps),
            expected="usually 1 to 12",
            remedy="Choose another shift, or fewer steps",
        )
    return sigmas


#: NVIDIA's Cosmos Predict2, in the terms of EDM, where sigma_EDM = sigma / (1 - sigma).
_KARRAS_HIGHEST, _KARRAS_LOWEST, _KARRAS_RHO = 80.0, 0.002, 7.0


def karras_sigmas(num_steps: int, *, denoise: float = 1.0) -> tuple[float, ...]:
    """Return N + 1 sigmas whose sigma_EDM = sigma / (1 - sigma) are evenly spaced in their seventh root, then 0.

    From 80 to 0.002 (Karras et al. 2022, arXiv 2206.00364, eq. 5), as Cosmos Predict2 is sampled.

    Args:
        num_steps: N, how often the network is evaluated.
        denoise: as in `flow_sigmas`.
    """
    total = _total_steps(num_steps, denoise)
    highest, lowest = _KARRAS_HIGHEST ** (1 / _KARRAS_RHO), _KARRAS_LOWEST ** (1 / _KARRAS_RHO)
    places = (i / max(total - 1, 1) for i in range(total - num_steps, total))
    levels = ((highest + place * (lowest - highest)) ** _KARRAS_RHO for place in places)
    return (*(level / (1 + level) for level in levels), 0.0)


def check_sigmas(values: Iterable[float]) -> tuple[float, ...]:
    """Return a sigma list of one's own as floats if a run can follow it, else say which entry is at fault."""
    sigmas = tuple(finite_number(_plain(value), f"sigmas[{i}]", PlanError) for i, value in enumerate(values))
    if len(sigmas) < 2:
        raise PlanError(
            "sigmas",
            said("{count} value(s) make no step", count=len(sigmas)),
            expected="one per step and a final 0",
            remedy="Add noise levels",
        )
    if len(sigmas) > MAX_STEPS + 1:
        raise PlanError(
            "sigmas",
            said("{count} steps", count=len(sigmas) - 1),
            expected=said("at most {most}", most=MAX_STEPS),
            remedy="Take fewer steps",
        )
    if sigmas[0] > 1:
        remedy = _as_sigmas(sigmas)
        raise PlanError(
            "sigmas[0]",
            said("{first:g} is above 1", first=sigmas[0]),
            expected="noise levels from 1 down to 0",
            remedy=remedy,
        )
    for i, (high, low) in enumerate(pairwise(sigmas)):
        if low >= high:
            raise PlanError(
                f"sigmas[{i + 1}]",
                said("{low:g} does not fall below {high:g}", low=low, high=high),
                expected="strictly descending",
                remedy="Put the levels in falling order",
            )
    if sigmas[-1] != 0:
        where = f"sigmas[{len(sigmas) - 1}]"
        raise PlanError(
            where, said("the list ends at {sigmas:g}", sigmas=sigmas[-1]), expected="a final 0", remedy="Append 0"
        )
    return sigmas


def parse_sigmas(text: str) -> tuple[float, ...]:
    """Return the sigmas in a text such as "1, 0.9375, 0.8333, 0.625, 0"."""
    parts = text.replace(",", " ").split()
    return check_sigmas(number_in_text(part, f"sigmas[{i}]", PlanError) for i, part in enumerate(parts))


def check_boundary(boundary: object) -> float:
    """Return the boundary between the experts if it lies strictly between 0 and 1."""
    number = finite_number(boundary, "boundary", PlanError)
    if 0 < number < 1:
        return number
    remedy = _as_sigmas([number]) if number < 1000 else ""
    raise PlanError(
        "boundary", said("{number:g} is outside (0, 1)", number=number), expected="a sigma such as 0.875", remedy=remedy
    )


def split_by_boundary(sigmas: Iterable[float], boundary: float | None) -> tuple[Expert, ...]:
    """Return the expert of every step of a run, one fewer than there are sigmas."""
    return tuple(expert_at(sigma, boundary) for sigma, _ in pairwise(sigmas))


def _as_sigmas(numbers: Sequence[float]) -> str:
    """Return the remedy for timesteps, which run from 1000, given as sigmas; "" for numbers that are neither."""
    if not 10 <= numbers[0] <= 1000:
        return ""
    timesteps = "a timestep" if len(numbers) == 1 else "timesteps"
    return f"Divide {timesteps} by 1000: {first_few((f'{number / 1000:g}' for number in numbers), 6)}"


def _total_steps(num_steps: int, denoise: float) -> int:
    """Return how many steps the whole run has of which `num_steps` are the last share, or say why there is none."""
    num_steps = _check_num_steps(num_steps)
    share = _positive(denoise, "denoise")
    if share > 1:
        raise PlanError(
            "denoise",
            said("{share:g} is more than the whole run", share=share),
            expected="above 0, at most 1",
            remedy="Lower it",
        )
    return _check_num_steps(int(min(num_steps / share, MAX_STEPS + 1)), f"steps {num_steps} / denoise {share:g}")


def _check_num_steps(num_steps: object, where: str = "steps") -> int:
    if isinstance(num_steps, bool) or not isinstance(num_steps, int):
        raise PlanError(
            where,
            said("{num_steps!r} is not a whole number", num_steps=num_steps),
            expected=said("1 to {max_steps}", max_steps=MAX_STEPS),
            remedy="Choose a number in that range",
        )
    if not 1 <= num_steps <= MAX_STEPS:
        raise PlanError(
            where,
            said("{num_steps} steps", num_steps=num_steps),
            expected=said("1 to {max_steps}", max_steps=MAX_STEPS),
            remedy="Choose a number in that range",
        )
    return num_steps


def _positive(value: object, where: str) -> float:
    number = finite_number(value, where, PlanError)
    if number <= 0:
        raise PlanError(
            where, said("{number:g} is not positive", number=number), expected="a number above 0", remedy="Raise it"
        )
    return number


def _plain(value: object) -> object:
    """Return the number inside a 0-dimensional tensor or array, and anything else as it is."""
    item = getattr(value, "item", None)
    return item() if callable(item) and math.prod(getattr(value, "shape", (0,))) == 1 else value
