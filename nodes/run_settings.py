"""The settings of a run: a sampler's own, beside those that LoraRouteByNoise gave."""

from __future__ import annotations

from ..lora_core import RunSettings
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
        f"note: LoraRouteByNoise planned {planned.num_steps} steps, shift {planned.shift:g}, boundary "
        f"{planned.boundary}; sampled with {settings.num_steps}, {settings.shift:g}, {settings.boundary}"
    ]
