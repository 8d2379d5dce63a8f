"""The curves of LoRAs over a clip's time, beneath the picture of a plan, whose steps go over noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .route import RoutedLora

if TYPE_CHECKING:
    from .plan import SamplingPlan


def timed_loras(plan: SamplingPlan) -> list[RoutedLora]:
    """Return the LoRAs of a plan that have a curve over time, each once, in the stack's order."""
    found = {lora.index: lora for lora in plan.route.all if lora.over_time is not None}
    return [found[index] for index in sorted(found)]


def curve_over_time(lora: RoutedLora, plan: SamplingPlan) -> tuple[list[float], list[float]]:
    """Return the seconds at which the frames of the plan's clip are, and a LoRA's factor at each of them."""
    assert lora.over_time is not None, "it has a curve"
    frames = range(plan.num_frames)
    return [frame / plan.fps for frame in frames], [lora.over_time.at_frame(frame, plan.fps) for frame in frames]
