"""The same run in Sampler6Step and in core's samplers: prompts, latents, and each sampler as one function."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import native
import nodes
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from native import WIDE, relative_error
from torch import Tensor
from wanloom.lora_core import flow_sigmas
from wanloom.nodes.sample import Sampler6Step
from wanloom.nodes.sockets import WanModelHandle

CLOSE = 1e-5
SHIFT = 5.0
#: Core's "simple" scheduler has the noise levels of 8 steps in its table of 1000; 4 of them are at 0.875 or above.
STEPS, SWITCH = 8, 4
SEED = 1234567890123

Latent = dict[str, Any]


def prompt(seed: int, **options: Any) -> list[list[Any]]:
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 5, WIDE.text_width, generator=generator), options]]


POSITIVE, NEGATIVE = prompt(1), prompt(2)


def empty(channels: int = 16, **entries: Any) -> Latent:
    return {"samples": torch.zeros(1, channels, 2, 6, 4), **entries}


def video(channels: int = 16, **entries: Any) -> Latent:
    return {"samples": native.start(channels), **entries}


def ours(model: WanModelHandle, latent: Latent | None = None, **options: Any) -> tuple[Latent, Latent]:
    """Run Sampler6Step; return both its outputs."""
    defaults: dict[str, Any] = {"positive": POSITIVE, "seed": SEED, "steps": STEPS, "shift": SHIFT}
    defaults |= {"cfg_high": 1.0, "cfg_low": 1.0, "solver": "euler", "boundary": "auto", "denoise": 1.0}
    found = Sampler6Step.execute(model=model, latent=empty() if latent is None else latent, **{**defaults, **options})
    return found.args


def core_custom(
    model: ModelPatcher,
    latent: Latent,
    cfg: float = 1.0,
    positive: Any = POSITIVE,
    negative: Any = NEGATIVE,
    sigmas: Tensor | None = None,
    noise: Any = None,
) -> tuple[Latent, Latent]:
    """Run core's SamplerCustomAdvanced with euler; return both its outputs."""
    guider = custom.CFGGuider.execute(shifted(model), positive, negative, cfg).args[0]
    levels = torch.tensor(flow_sigmas(STEPS, SHIFT)) if sigmas is None else sigmas
    noise = noise or custom.Noise_RandomNoise(SEED)
    return custom.SamplerCustomAdvanced.execute(
        noise, guider, comfy.samplers.sampler_object("euler"), levels, latent
    ).args


def core_advanced(model: ModelPatcher, latent: Latent, **options: Any) -> Latent:
    """Run core's KSamplerAdvanced with euler and the simple scheduler, on a MODEL with the shift set."""
    defaults: dict[str, Any] = {"add_noise": "enable", "noise_seed": SEED, "steps": STEPS, "cfg": 1.0}
    defaults |= {"sampler_name": "euler", "scheduler": "simple", "positive": POSITIVE, "negative": NEGATIVE}
    defaults |= {"start_at_step": 0, "end_at_step": 10_000, "return_with_leftover_noise": "disable"}
    return nodes.KSamplerAdvanced().sample(shifted(model), latent_image=latent, **{**defaults, **options})[0]


def core_pair(
    model: WanModelHandle, latent: Latent, cfg: tuple[float, float] = (1.0, 1.0), switch: int = SWITCH, **options: Any
) -> Latent:
    """Run the usual two KSamplerAdvanced: the first hands its leftover noise on to the second."""
    first = {"end_at_step": switch, "return_with_leftover_noise": "enable", "cfg": cfg[0]}
    noisy = core_advanced(model.expert("high_noise"), latent, **first, **options)
    second = {"start_at_step": switch, "add_noise": "disable", "cfg": cfg[1]}
    return core_advanced(model.expert("low_noise"), noisy, **second, **options)


def shifted(model: ModelPatcher) -> ModelPatcher:
    return ModelSamplingSD3().patch(model, SHIFT)[0]


def assert_same(found: Latent, expected: Latent, tolerance: float = CLOSE) -> None:
    assert found["samples"].shape == expected["samples"].shape
    assert found["samples"].dtype == expected["samples"].dtype
    assert found["samples"].device == expected["samples"].device
    assert found.keys() == expected.keys()
    assert relative_error(found["samples"], expected["samples"]) < tolerance
