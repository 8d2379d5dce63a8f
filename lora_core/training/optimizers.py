"""The optimisers and the course of the learning rate, from libraries that keep them well."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import TrainingError
from ..wording import said
from .muon import MuonAndAdamW
from .settings.learning import LearningSettings, OptimizerName, ScheduleName

_REMEDY = "Run `pip install 'wanloom[train]'`"


def _adamw(weights: Sequence[nn.Parameter], settings: LearningSettings) -> Optimizer:
    # One kernel for all weights, where there is one; parts of weights are not plain tensors.
    is_fused = all(weight.device.type in ("cpu", "cuda") and type(weight) is nn.Parameter for weight in weights)
    return torch.optim.AdamW(
        weights, settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=is_fused or None
    )


def _adamw8bit(weights: Sequence[nn.Parameter], settings: LearningSettings) -> Optimizer:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise TrainingError("optimizer", "adamw8bit needs the package bitsandbytes", remedy=_REMEDY) from error
    optimizer: Optimizer = AdamW8bit(weights, settings.lr, betas=(0.9, 0.99), weight_decay=settings.weight_decay)
    return optimizer


def _adafactor(weights: Sequence[nn.Parameter], settings: LearningSettings) -> Optimizer:
    return torch.optim.Adafactor(weights, settings.lr, weight_decay=settings.weight_decay)


def _prodigy(weights: Sequence[nn.Parameter], settings: LearningSettings) -> Optimizer:
    try:
        from prodigyopt import Prodigy
    except ImportError as error:
        raise TrainingError("optimizer", "prodigy needs the package prodigyopt", remedy=_REMEDY) from error
    optimizer: Optimizer = Prodigy(
        weights, settings.lr, weight_decay=settings.weight_decay, safeguard_warmup=True, use_bias_correction=True
    )
    return optimizer


def _muon(weights: Sequence[nn.Parameter], settings: LearningSettings) -> Optimizer:
    if not hasattr(torch.optim, "Muon"):
        what = said("muon needs PyTorch 2.9 or newer, this is {version}", version=torch.__version__)
        raise TrainingError("optimizer", what, remedy="Choose adamw, or update PyTorch")
    return MuonAndAdamW(weights, settings.lr, settings.weight_decay)


OPTIMIZER_BUILDERS: Mapping[OptimizerName, Callable[[Sequence[nn.Parameter], LearningSettings], Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "adafactor": _adafactor,
    "prodigy": _prodigy,
    "muon": _muon,
}


#: Those that look at each value of a weight by itself, and so may be given a part of it.
ON_PARTS: tuple[OptimizerName, ...] = ("adamw",)


def make_optimizer(
    weights: Sequence[nn.Parameter], settings: LearningSettings, *, is_sharded: bool = False
) -> Optimizer:
    """Return the optimiser that the settings name, for the weights that learn, or this process's parts of them."""
    if is_sharded and settings.optimizer not in ON_PARTS:
        what = said(
            "{optimizer} needs whole weights, and with FSDP each process has parts of them",
            optimizer=settings.optimizer,
        )
        raise TrainingError("optimizer", what, expected=" or ".join(ON_PARTS), remedy="Choose it, or launch with DDP")
    return OPTIMIZER_BUILDERS[settings.optimizer](weights, settings)


def _constant(progress: float) -> float:
    return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _linear(progress: float) -> float:
    return 1 - progress


#: name -> the share of the highest rate, when a share of the steps behind the warm-up is done.
COURSES: Mapping[ScheduleName, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
}


def rate_at(step: int, name: ScheduleName, warmup: int, num_steps: int) -> float:
    """Return the share of the highest learning rate in a step, counted from 0; the last step is above 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return COURSES[name]((step - warmup) / max(1, num_steps - warmup))


def make_schedule(optimizer: Optimizer, settings: LearningSettings, num_steps: int) -> LambdaLR:
    """Return the course of the learning rate over an expert's own steps."""
    course = partial(rate_at, name=settings.lr_schedule, warmup=settings.warmup, num_steps=num_steps)
    return LambdaLR(optimizer, course)
