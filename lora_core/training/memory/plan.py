"""The plans of a training's memory: as asked, and then with less and less, each on top of those before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...atomic import write_text
from ...errors import TrainingError
from ...wording import said
from ..config import TrainConfig, make_config

#: In the folder of a checkpoint: the plan by which it was made.
PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """A way to take less memory than was asked for.

    Attributes:
        name: what it is called.
        changes: key -> the value it has in the place of what was asked for.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, config: TrainConfig) -> TrainConfig:
        """Return the configuration as this plan has it."""
        return make_config(config.values() | dict(self.changes), "memory plan") if self.changes else config

    def __str__(self) -> str:
        keys = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.changes.items())
        return f"{self.name}: {keys}" if keys else self.name


AS_ASKED = Plan("as asked")


@dataclass(frozen=True)
class _Saving:
    """One step down.

    Attributes:
        acts: whether it changes anything, of a configuration and whether there is a device beside the CPU.
    """

    name: str
    changes: Mapping[str, Any]
    acts: Callable[[TrainConfig, bool], bool]


def _has_bitsandbytes() -> bool:
    return find_spec("bitsandbytes") is not None


_SAVINGS: tuple[_Saving, ...] = (
    _Saving("checkpointing", {"checkpointing": True}, lambda c, on_gpu: not c.learning.checkpointing),
    _Saving(
        "8-bit optimiser",
        {"optimizer": "adamw8bit"},
        lambda c, on_gpu: c.learning.optimizer == "adamw" and _has_bitsandbytes(),
    ),
    _Saving("fp8 base", {"method": "qlora", "base": "fp8"}, lambda c, on_gpu: c.adapter.method == "lora"),
    _Saving("nf4 base", {"base": "nf4"}, lambda c, on_gpu: c.adapter.method == "qlora" and c.adapter.base != "nf4"),
    _Saving(
        "base in system memory",
        {"offload": True},
        lambda c, on_gpu: c.adapter.method == "qlora" and not c.adapter.offload and on_gpu,
    ),
)


def plans(config: TrainConfig, *, on_gpu: bool) -> tuple[Plan, ...]:
    """Return the plans for a configuration, from what was asked for to what takes least."""
    made, current = [AS_ASKED], config
    for saving in _SAVINGS:
        if saving.name == "nf4 base" and not _has_bitsandbytes():
            continue
        if saving.acts(current, on_gpu):
            made.append(Plan(saving.name, {**made[-1].changes, **saving.changes}))
            current = made[-1].apply(config)
    return tuple(made)


def plans_from(plan: Plan, config: TrainConfig, *, on_gpu: bool) -> tuple[Plan, ...]:
    """Return a plan that a training was begun with, and those that take less."""
    known = plans(config, on_gpu=on_gpu)
    names = [other.name for other in known]
    return (plan, *(known[names.index(plan.name) + 1 :] if plan.name in names else ()))


def write_plan(folder: Path, plan: Plan, config: TrainConfig) -> None:
    """Write into a checkpoint's folder by which plan it was made, and with which optimiser."""
    told = {"name": plan.name, "changes": dict(plan.changes), "optimizer": config.learning.optimizer}
    write_text(json.dumps(told, indent=1) + "\n", folder / PLAN_FILE)


def read_plan(folder: Path) -> tuple[Plan, str]:
    """Return the plan of a checkpoint and its optimiser's name; as asked, and "", where none is told."""
    file = folder / PLAN_FILE
    if not file.is_file():
        return AS_ASKED, ""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return Plan(str(told["name"]), dict(told["changes"])), str(told["optimizer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            file, "is damaged", remedy=said("Remove the folder {folder}", folder=folder.name)
        ) from error
