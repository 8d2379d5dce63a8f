"""The forms of an adapter: how peft is asked for each, and the change that its parameters stand for.

Dtype policy: an adapter's parameters are float32, whatever the base's are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoints.quiet import quietly
from ...deltas import Delta, Dora, LoHa, LoKr, Lora
from ..settings.adapter import AdapterKind, AdapterSettings
from .targets import Layer

#: peft's name for the adapter that is trained.
ADAPTER = "trained"


@dataclass(frozen=True)
class Form:
    """One form of adapter.

    Attributes:
        config: peft's configuration for it, of the settings and the paths of the layers.
        delta: the change that an adapter's tensors stand for, of those and the scale.
    """

    config: Callable[[AdapterSettings, list[str]], Any]
    delta: Callable[[Mapping[str, Tensor], float], Delta]


def inject_adapter(network: nn.Module, layers: tuple[Layer, ...], settings: AdapterSettings, seed: int) -> None:
    """Put an untrained adapter beside each of the layers; drawn on the CPU, so it is the same on every device."""
    with quietly():
        from peft import inject_adapter_in_model

    config = FORMS[settings.adapter].config(settings, [layer.path for layer in layers])
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(config, network, ADAPTER)
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
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


def delta_of(tensors: Mapping[str, Tensor], settings: AdapterSettings) -> Delta:
    """Return the change that an adapter's tensors stand for, which have the names of `adapter_parts`."""
    return FORMS[settings.adapter].delta(tensors, adapter_scale(settings))


def _draw(module: Any, generator: torch.Generator) -> None:
    """Draw anew, in float32, what peft drew in the base's dtype; what it left zero makes the adapter change nothing."""
    for name, parameter in adapter_parts(module).items():
        parameter.data = parameter.data.float()
        if name == _MAGNITUDE:
            parameter.data = torch.linalg.norm(module.get_base_layer().weight.detach().float(), dim=1)
        elif not parameter.is_meta and bool(parameter.data.any()):
            drawn = torch.empty(parameter.shape)
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            parameter.data.copy_(drawn)


# ------------------------------------------------------------------------------------------- the forms

_MAGNITUDE = "lora_magnitude_vector"


def _exactly(paths: list[str]) -> str:
    """Return a pattern of these paths; peft would also take every path that one of a list is the end of."""
    return "|".join(re.escape(path) for path in paths)


def _lora_config(settings: AdapterSettings, paths: list[str]) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.used_alpha,  # type: ignore[arg-type]  # peft says int, and divides it
        use_rslora=settings.rslora,
        use_dora=settings.adapter == "dora",
        lora_dropout=settings.dropout,
        target_modules=_exactly(paths),
    )


def _loha_config(settings: AdapterSettings, paths: list[str]) -> Any:
    from peft import LoHaConfig

    return LoHaConfig(r=settings.rank, alpha=settings.used_alpha, target_modules=_exactly(paths))  # type: ignore[arg-type]


def _lokr_config(settings: AdapterSettings, paths: list[str]) -> Any:
    from peft import LoKrConfig

    return LoKrConfig(r=settings.rank, alpha=settings.used_alpha, target_modules=_exactly(paths))  # type: ignore[arg-type]


def _lora(tensors: Mapping[str, Tensor], scale: float) -> Delta:
    return Lora(tensors["lora_A"], tensors["lora_B"], scale=scale)


def _dora(tensors: Mapping[str, Tensor], scale: float) -> Delta:
    return Dora(_lora(tensors, scale), tensors[_MAGNITUDE])


def _loha(tensors: Mapping[str, Tensor], scale: float) -> Delta:
    w1a, w1b, w2a, w2b = (tensors[f"hada_{half}"] for half in ("w1_a", "w1_b", "w2_a", "w2_b"))
    return LoHa(w1a, w1b, w2a, w2b, scale=scale)


def _lokr(tensors: Mapping[str, Tensor], scale: float) -> Delta:
    w1, w1a, w1b, w2, w2a, w2b = (tensors.get(f"lokr_{p}") for p in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b"))
    return LoKr(w1, w1a, w1b, w2, w2a, w2b, scale=scale)


#: Adapter -> its form. What a row cannot do is refused by `AdapterSettings`.
FORMS: Mapping[AdapterKind, Form] = {
    "lora": Form(_lora_config, _lora),
    "dora": Form(_lora_config, _dora),
    "loha": Form(_loha_config, _loha),
    "lokr": Form(_lokr_config, _lokr),
}
