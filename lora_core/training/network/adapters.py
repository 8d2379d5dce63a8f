"""The forms of an adapter: how peft is asked for each, and the change that its parameters stand for.

Dtype policy: an adapter's parameters are float32, whatever the base's are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...deltas import Delta, Lora
from ...errors import TrainingError
from ..settings.adapter import AdapterSettings
from .targets import Layer

#: peft's name for the adapter that is trained.
ADAPTER = "trained"

#: A layer's own adapter parameters, by peft's name without the adapter's -> what they are.
Parts = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Form:
    """One form of adapter.

    Attributes:
        config: peft's configuration for it, of the settings and the paths of the layers.
        delta: the change that a layer's parameters (copied) stand for, of those and the scale.
    """

    config: Callable[[AdapterSettings, list[str]], Any]
    delta: Callable[[Mapping[str, Tensor], float], Delta]


def inject_adapter(network: nn.Module, layers: tuple[Layer, ...], settings: AdapterSettings, seed: int) -> None:
    """Put an untrained adapter beside each of the layers; drawn on the CPU, so it is the same on every device."""
    from peft import inject_adapter_in_model

    form = FORMS[settings.adapter]
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(form.config(settings, [layer.path for layer in layers]), network, ADAPTER)
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        for parameter in adapter_parts(network.get_submodule(layer.path)).values():
            parameter.data = parameter.data.float()
        _draw(network.get_submodule(layer.path), generator)


def adapter_parts(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the adapter parameters of one of peft's layers, under peft's names without the adapter's."""
    return {
        name.replace(f".{ADAPTER}", "").removesuffix(".weight"): parameter
        for name, parameter in module.named_parameters()
        if f".{ADAPTER}" in name
    }


def adapter_scale(settings: AdapterSettings) -> float:
    """Return what the adapter's product is multiplied by; rsLoRA is Kalajdzievski 2023, arXiv 2312.03732, section 3."""
    return settings.used_alpha / (math.sqrt(settings.rank) if settings.rslora else settings.rank)


def delta_of(module: nn.Module, settings: AdapterSettings) -> Delta:
    """Return the change that one of peft's layers has learnt; its tensors are copies on the CPU."""
    tensors = {name: parameter.detach().cpu().clone() for name, parameter in adapter_parts(module).items()}
    return FORMS[settings.adapter].delta(tensors, adapter_scale(settings))


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    """Draw anew what is not zero: peft draws in the base's dtype. Zeros make the untrained adapter change nothing."""
    for parameter in adapter_parts(module).values():
        if parameter.ndim > 1 and bool(parameter.data.any()):
            drawn = torch.empty(parameter.shape)
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            parameter.data.copy_(drawn)


def _lora_config(settings: AdapterSettings, paths: list[str]) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.used_alpha,  # type: ignore[arg-type]  # peft says int, and divides it
        use_rslora=settings.rslora,
        lora_dropout=settings.dropout,
        target_modules=paths,
    )


def _lora(tensors: Mapping[str, Tensor], scale: float) -> Delta:
    return Lora(tensors["lora_A"], tensors["lora_B"], scale=scale)


def _not_yet(settings: AdapterSettings, paths: list[str]) -> Any:
    raise TrainingError("adapter", f"{settings.adapter} cannot be trained yet", expected="lora")


FORMS: Mapping[str, Form] = {
    "lora": Form(_lora_config, _lora),
    "dora": Form(_not_yet, _lora),
    "loha": Form(_not_yet, _lora),
    "lokr": Form(_not_yet, _lora),
}
