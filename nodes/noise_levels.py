"""Noise levels of any MODEL as schedules have them: from 1, nothing but noise, to 0, the picture."""

from __future__ import annotations

import comfy.model_sampling
import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import nn


def level_of(sampling: nn.Module, sigma: float) -> float:
    """Return the noise level of a host's sigma.

    A flow's sigma is the share of noise itself. Where noise is added to a picture of standard deviation
    `sigma_data`, the level is that of the flow with the same ratio of the two: sigma / (sigma + sigma_data).
    """
    if isinstance(sampling, comfy.model_sampling.CONST):
        return sigma
    return sigma / (sigma + getattr(sampling, "sigma_data", 1.0))


def usual_levels(patcher: ModelPatcher, num_steps: int) -> tuple[float, ...]:
    """Return the N + 1 levels of a run of so many steps with core's "simple" scheduler."""
    sampling = patcher.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", num_steps).tolist()
    return tuple(level_of(sampling, sigma) for sigma in sigmas)
