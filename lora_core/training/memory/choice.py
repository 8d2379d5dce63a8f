"""The choice among the plans of a training's memory: the first that a machine has room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import TrainingError
from ...families.opened import OpenedModel
from ...wording import said
from ..config import TrainConfig
from .load import Load
from .machine import Machine
from .plan import Plan, plans
from .predict import Prediction, predicted

_GIB, _MIB = 2**30, 2**20
#: What takes less memory, and no plan does by itself.
REMEDY = "Use fewer frames, a smaller resolution, a smaller batch or a lower rank"


@dataclass(frozen=True)
class Choice:
    """Plans with what they would take, and the one that is taken.

    Attributes:
        predictions: plan -> what it takes, as far as plans were looked at, in their order.
        chosen: None where none of them fits.
        remedy: what to say then.
    """

    predictions: tuple[tuple[Plan, Prediction], ...]
    machine: Machine
    chosen: Plan | None
    remedy: str = REMEDY

    def __str__(self) -> str:
        return _table(self)


def fits(prediction: Prediction, machine: Machine) -> bool:
    """Say whether a machine has room for what is predicted."""
    has_device = machine.device is None or prediction.device <= machine.device
    return has_device and prediction.system <= machine.system


def look_at(config: TrainConfig, model: OpenedModel, load: Load, machine: Machine, *, all_plans: bool) -> Choice:
    """Predict what plans take, one after the other: all of them, or those up to the first that fits."""
    made: list[tuple[Plan, Prediction]] = []
    chosen = None
    for plan in plans(config, on_gpu=model.device.type != "cpu"):
        made.append((plan, predicted(plan.apply(config), model, load)))
        if chosen is None and fits(made[-1][1], machine):
            chosen = plan
        if chosen is not None and not all_plans:
            break
    return Choice(tuple(made), machine, chosen)


def choose(config: TrainConfig, model: OpenedModel, load: Load, machine: Machine) -> Choice:
    """Choose the first plan that fits.

    Raises:
        TrainingError: none does.
    """
    choice = look_at(config, model, load, machine, all_plans=False)
    if choice.chosen is None:
        plan, least = choice.predictions[-1]
        needs = [f"{_gib(least.system)} of system memory"]
        has = [f"{_gib(machine.system)} of system memory"]
        if machine.device is not None:
            needs.insert(0, f"{_gib(least.device)} on the device")
            has.insert(0, f"{_gib(machine.device)} on the device")
        what = said("the plan that takes least, {plan}, takes {needs}", plan=plan.name, needs=" and ".join(needs))
        raise TrainingError(
            "memory", what, expected=said("at most {has}, which are left", has=" and ".join(has)), remedy=REMEDY
        )
    return choice


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / _GIB:.1f} GiB" if num_bytes >= _GIB // 10 else f"{num_bytes / _MIB:.1f} MiB"


def _table(choice: Choice) -> str:
    """Lay out what each plan takes, a column each, the chosen one marked."""
    most = max(max(p.device, p.system) for _, p in choice.predictions)
    unit, name = (_GIB, "GiB") if most >= _GIB else (_MIB, "MiB")
    kinds = ("system",) if choice.machine.device is None else ("device", "system")
    heads = [plan.name + (" *" if plan == choice.chosen else "") for plan, _ in choice.predictions]
    rows: list[tuple[str, list[str]]] = [(f"{name} at the peak", heads)]
    for kind in kinds:
        rows += [(f"{part}, {kind}" if len(kinds) > 1 else part, cells) for part, cells in _rows(choice, kind, unit)]
    left: Mapping[str, int | None] = {"device": choice.machine.device, "system": choice.machine.system}
    for kind in kinds:
        rows.append((f"left on this machine, {kind}", [f"{(left[kind] or 0) / unit:.1f}"]))
    first = max(len(text) for text, _ in rows)
    widths = [max(len(head), 8) for head in heads]
    lines = [
        "  ".join([text.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=False))])
        for text, cells in rows
    ]
    end = "* is taken" if choice.chosen else f"none of them fits. {choice.remedy}"
    return "\n".join([*lines, end])


def _rows(choice: Choice, kind: str, unit: int) -> list[tuple[str, list[str]]]:
    """Return each component's row, without those that take nothing in any plan, and their sum."""
    parts = dict.fromkeys(part for _, prediction in choice.predictions for part in prediction.parts)
    rows = []
    for part in parts:
        values = [getattr(p.parts[part], kind) if part in p.parts else 0 for _, p in choice.predictions]
        if any(values):
            rows.append((part, [f"{value / unit:.1f}" for value in values]))
    return [*rows, ("in all", [f"{getattr(p, kind) / unit:.1f}" for _, p in choice.predictions])]
