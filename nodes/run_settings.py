"""The settings of a run: a sampler's own, beside those that LoraRouteByNoise gave."""

from __future__ import annotations

from ..lora_core import RunSettings
from ..lora_core.wording import said
from .sockets import WanModelHandle
from .widgets import parse_boundary


def run_settings(model: WanModelHandle, boundary: str, steps: int, shift: float) -> RunSettings:
    """Return the settings of a run: the sampler's own, the boundary from LoraRouteByNoise where it is 'auto'."""
    chosen = parse_boundary(boundary)
    known = model.settings.boundary if chosen == "auto" else chosen
    return RunSettings(num_steps=steps, shift=shift, boundary=known)


def planned_otherwise(model: WanModelHandle, settings: RunSettings) -> list[str]:
    """Tell of settings that LoraRouteByNoise gave otherwise; the sampler's own count."""
    planned = model.settings
    if not model.is_routed or settings == planned:
        return []
    return [
        said(
            "note: LoraRouteByNoise planned {planned_steps} steps, shift {planned_shift}, boundary {planned_boundary}; "
            "sampled with {steps}, {shift}, {boundary}",
            planned_steps=planned.num_steps,
            planned_shift=f"{planned.shift:g}",
            planned_boundary=str(planned.boundary),
            steps=settings.num_steps,
            shift=f"{settings.shift:g}",
            boundary=str(settings.boundary),
        )
    ]
