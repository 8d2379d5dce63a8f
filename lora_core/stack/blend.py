"""Interpolation between two LoRAs: a mixture in a fixed ratio, or a cross-fade by noise level."""

from __future__ import annotations

from dataclasses import replace

from ..checks import finite_number, typed
from ..errors import StackError
from ..wording import said
from .entry import LoraEntry
from .schedule import StrengthSchedule


@typed(StackError)
def blend(first: LoraEntry, second: LoraEntry, by: float | StrengthSchedule | str) -> tuple[LoraEntry, LoraEntry]:
    """Return both entries, weakened so that together they are one LoRA between the two.

    A change of weights is linear in its strength, so 0.7 of one and 0.3 of the other is the point 0.7 / 0.3 on the
    straight line between them. With a schedule the point moves along that line while the noise falls.

    Args:
        first: what acts with the share `by`.
        second: what acts with the rest, `1 - by`.
        by: a share from 0 to 1, or a schedule of it (or its text form): "fade_out" goes from `first` to `second`.
    """
    if isinstance(by, str):
        by = StrengthSchedule.parse(by)
    if isinstance(by, StrengthSchedule):
        return _cross_fade(first, second, by)
    share = finite_number(by, "blend ratio", StackError)
    if not 0 <= share <= 1:
        raise StackError(
            "blend ratio",
            said("{share:g} is not between the two", share=share),
            expected="0 (second) to 1 (first)",
            remedy="Choose a number in that range",
        )
    return _scaled(first, share), _scaled(second, 1 - share)


def _cross_fade(first: LoraEntry, second: LoraEntry, share: StrengthSchedule) -> tuple[LoraEntry, LoraEntry]:
    for entry in (first, second):
        if entry.schedule is not None:
            what = said(
                "it has the schedule {schedule} already, so it cannot be cross-faded too", schedule=entry.schedule
            )
            raise StackError(f"LoRA {entry.name!r}", what, remedy="Take its schedule away, or blend in a fixed ratio")
    outside = [factor for _, factor in share.keyframes if not 0 <= factor <= 1]
    if outside:
        raise StackError(
            "blend schedule",
            said("{share} reaches {number:g}", share=share, number=outside[0]),
            expected="shares from 0 to 1",
            remedy="Keep the shares between 0 and 1",
        )
    return replace(first, schedule=share), replace(second, schedule=share.complement())


def _scaled(entry: LoraEntry, share: float) -> LoraEntry:
    low = entry.low_noise_strength
    return replace(entry, strength=entry.strength * share, low_noise_strength=None if low is None else low * share)
