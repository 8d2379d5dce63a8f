"""A model as it is judged: with what a training has written, on the base it was trained on or on the plain one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..experts import Expert
from ..families.opened import OpenedModel
from ..families.registry import opener
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from ..training.config import TrainConfig
from ..training.network.trainee import packed_copy
from ..training.settings.adapter import AdapterSettings
from .subjects import BaseName

#: Expert -> the piece of a model that it is.
_PIECES: Mapping[Expert, str] = {"high_noise": "high", "low_noise": "low"}


@dataclass(frozen=True, eq=False)
class JudgedModel:
    """A model, and the LoRAs on it."""

    model: OpenedModel
    stack: LoadedStack


def judged_model(
    model: OpenedModel, config: TrainConfig, base: BaseName, files: Mapping[Expert, Path] | None = None
) -> JudgedModel:
    """Return what is judged.

    Args:
        model: the base, opened.
        config: of the training.
        base: what the files are put on; of whole weights there is nothing to put them on.
        files: what the training has written; None for the base alone.
    """
    if files and config.adapter.method == "full":
        return JudgedModel(_with_weights(model, files), load_stack(LoraStack(), model.spec))
    judged: Any = model if base == "plain" else _PackedModel(model, config.adapter)
    return JudgedModel(judged, load_stack(_stack_of(files or {}), model.spec))


def _stack_of(files: Mapping[Expert, Path]) -> LoraStack:
    if not files:
        return LoraStack()
    first, *others = (files[expert] for expert in _PIECES if expert in files)
    return LoraStack().add(first, name="trained", low_noise=others[0] if others else None)


def _with_weights(model: OpenedModel, files: Mapping[Expert, Path]) -> OpenedModel:
    """Open a model like another one, with experts from other files."""
    pieces: dict[str, Any] = dict(model.files)
    is_pair = model.spec.num_experts == 2
    pieces |= {_PIECES[expert] if is_pair else "high": file for expert, file in files.items()}
    high, low = pieces.pop("high"), pieces.pop("low", None)
    opened: dict[str, Any] = {"dtype": model.dtype, "device": model.device, "offload": model.offload}
    return opener(high)(high, **({"low_noise": low} if low else {}), **pieces, **opened)


class _PackedModel:
    """A model like another one, but for experts whose weights are packed; there is one at a time, as in a training."""

    def __init__(self, model: OpenedModel, settings: AdapterSettings) -> None:
        self._model, self._settings = model, settings
        self._packed: dict[Expert, nn.Module] = {}

    def expert(self, name: Expert) -> nn.Module:
        """Return an expert's network, ready on the compute device."""
        if name not in self._packed:
            self._packed.clear()
            model = self._model
            packed = packed_copy(model.at_rest(name), model.spec, self._settings, model.device)
            self._packed[name] = packed.eval()
        return self._packed[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
