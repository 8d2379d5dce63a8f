"""The sampling plan: for every step its noise level, its expert, its cfg and the strength of each LoRA."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import number_text
from ..errors import PlanError
from ..experts import Expert
from ..wording import Said, joined, said, wrapped
from .advice import Advice
from .route import Route, RoutedLora

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from .steering import Steering

#: The widest line of a table, however many LoRAs there are.
WIDTH = 100
_MIN_COLUMN, _MAX_COLUMN = 6, 16
_EXPERTS = {"high_noise": said("high  "), "low_noise": said("low   ")}


@dataclass(frozen=True)
class StepPlan:
    """One evaluation of the network.

    Attributes:
        index: counted from 0.
        sigma: the noise level the network is asked at.
        sigma_next: the noise level the step ends at.
        strengths: of the LoRAs routed to the step's expert, in the route's order.
    """

    index: int
    sigma: float
    sigma_next: float
    expert: Expert
    cfg: float
    strengths: tuple[float, ...]


@dataclass(frozen=True)
class SamplingPlan:
    """The steps of a run, and what they were made from.

    Attributes:
        shift: None when the sigmas were given, or are those of a schedule that has none.
        boundary: None when one network does every step.
        plan_advice: what was noticed about the steps; `advice` adds what was noticed about the stack.
        steering: what a guide does beside it, or None.
        schedule: how the sigmas are spaced (`RunSettings.schedule`); "" when they were given.
        num_frames, fps: the clip's length and rate, over which LoRAs' times are drawn; by default the model's own.
    """

    steps: tuple[StepPlan, ...]
    route: Route
    model: str
    boundary: float | None
    shift: float | None
    plan_advice: tuple[Advice, ...] = ()
    steering: Steering | None = None
    schedule: str = "flow"
    num_frames: int = 1
    fps: float = 16.0

    @property
    def num_steps(self) -> int:
        return len(self.steps)

    @property
    def levels(self) -> Said:
        """What its noise levels are called."""
        if self.shift is not None:
            return said("shift {shift}", shift=number_text(self.shift))
        return said("schedule {schedule}", schedule=self.schedule) if self.schedule == "karras" else said("own sigmas")

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise levels from the first step's to the one the last step ends at, one more than there are steps."""
        return (*(step.sigma for step in self.steps), self.steps[-1].sigma_next)

    @property
    def advice(self) -> tuple[Advice, ...]:
        return self.plan_advice + self.route.advice

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, as lines of text."""
        return tuple(advice.told() for advice in self.advice)

    @property
    def guided_steps(self) -> tuple[StepPlan, ...]:
        """The steps with guidance, which need a negative prompt."""
        return tuple(step for step in self.steps if step.cfg != 1)

    @property
    def reads_negative(self) -> bool:
        """Whether any step needs a negative prompt, the guide's own included."""
        return bool(self.guided_steps) or (self.steering is not None and self.steering.is_guided)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the LoRAs that act anywhere, in the stack's order."""
        return tuple(name for _, name in sorted({(lora.index, lora.name) for lora in self.route.all}))

    def strengths_of(self, name: str) -> tuple[float | None, ...]:
        """Return a LoRA's strength at every step, None where it is not on the step's expert."""
        return tuple(self._strength(step, name) for step in self.steps)

    def _strength(self, step: StepPlan, name: str) -> float | None:
        on_expert = zip(self.route.for_expert(step.expert), step.strengths, strict=True)
        return next((strength for lora, strength in on_expert if lora.name == name), None)

    @property
    def places(self) -> dict[str, Said]:
        """Where in the picture and when in the clip a LoRA acts, by its name, of those that act in a part of it."""
        masked = {lora.name: lora for lora in self.route.all if lora.is_masked}
        return {name: joined("; ", _places(lora)) for name, lora in masked.items()}

    def over(self, num_frames: int, fps: float) -> SamplingPlan:
        """Return the same plan for a clip of another length or rate."""
        return replace(self, num_frames=num_frames, fps=fps)

    def part(self, first: int = 0, last: int | None = None) -> SamplingPlan:
        """Return the plan of steps `first` to `last` (exclusive), to leave noise over or to go on from it."""
        steps = self.steps[first:last]
        if not steps:
            raise PlanError(
                "steps",
                said("none from {first} to {last}", first=first, last=last),
                expected=said("some of 0 to {num_steps}", num_steps=self.num_steps),
                remedy="Choose other steps",
            )
        steering = None if self.steering is None else self.steering.part(first, last)
        return replace(self, steps=steps, steering=steering)

    def table(self, *, without: Collection[str] = ()) -> Said:
        """Return the plan as text for people, at most 100 columns wide; without the advice of some rules."""
        return _table(self, without)

    def plot(self, path: str | Path) -> Path:
        """Write a picture of the plan: .png, .svg or .pdf."""
        from .plot import save_plan

        return save_plan(self, path)

    def figure(self) -> Figure:
        """Draw the plan into a matplotlib figure of its own."""
        from .plot import draw_plan

        return draw_plan(self)

    def image(self) -> np.ndarray:
        """Draw the plan into an array (height, width, 3) of uint8."""
        from .plot import plan_image

        return plan_image(self)

    def to_dict(self) -> dict[str, object]:
        """Return the plan as plain data for a record."""
        steering = {} if self.steering is None else {"steering": self.steering.to_dict()}
        return {
            "model": self.model,
            "num_steps": self.num_steps,
            "shift": self.shift,
            "boundary": self.boundary,
            "sigmas": list(self.sigmas),
            "steps": [_step_dict(step) for step in self.steps],
            "loras": [_lora_dict(lora) for lora in self.route.all],
            "advice": [advice.to_dict() for advice in self.advice],
            **steering,
        }


def _step_dict(step: StepPlan) -> dict[str, object]:
    return {
        "index": step.index,
        "sigma": step.sigma,
        "sigma_next": step.sigma_next,
        "expert": step.expert,
        "cfg": step.cfg,
        "strengths": list(step.strengths),
    }


def _lora_dict(lora: RoutedLora) -> dict[str, object]:
    path = lora.weights.path
    places = {"region": lora.region, "time": lora.over_time}
    return {
        "name": lora.name,
        "file": None if path is None else str(path),
        "expert": lora.expert,
        "strength": lora.strength,
        "schedule": None if lora.schedule is None else str(lora.schedule),
        "num_targets": len(lora.factors),
        "num_filtered": sum(factor != 1 for factor in lora.factors.values()),
        **{key: str(place) for key, place in places.items() if place is not None},
        **({"without_place": list(lora.without_place)} if lora.without_place else {}),
    }


def _places(lora: RoutedLora) -> list[Said]:
    """Say where in the picture and when in the clip a LoRA acts, as far as it does not act everywhere and always."""
    region = [] if lora.region is None else [said("region {region}", region=lora.region.shown)]
    return [*region, *([] if lora.over_time is None else [said("time {time}", time=str(lora.over_time))])]


def _table(plan: SamplingPlan, without: Collection[str]) -> Said:
    """Return a heading, one line per step, and what was noticed."""
    fixed = said("step    sigma  expert   cfg")
    names = plan.names
    room = (WIDTH - len(fixed)) // max(len(names), 1) - 2
    titles = {name: name for name in names}
    if names and room < min(_MAX_COLUMN, max(map(len, names))):
        titles = {name: f"[{i}]" for i, name in enumerate(names, 1)}  # their names go below
    columns = {name: max(_MIN_COLUMN, len(title)) for name, title in titles.items()}
    chunks = _chunks(list(names), columns, WIDTH - len(fixed))
    lines: list[str] = [_heading(plan)]
    for chunk in chunks:
        lines += ["", joined("", [fixed, *(f"  {titles[name]:>{columns[name]}}" for name in chunk)])]
        cells = zip(*(_cells(plan, name, columns[name]) for name in chunk), strict=True) if chunk else repeat(())
        lines += [_row(step, row) for step, row in zip(plan.steps, cells, strict=False)]
    legend: list[str] = [f"{title} {name}" for name, title in titles.items() if title != name]
    legend += [said("{name} in {place}", name=name, place=place) for name, place in plan.places.items()]
    notes = [wrapped(advice.told(), WIDTH) for advice in plan.advice if advice.rule not in without]
    guide = [] if plan.steering is None else [plan.steering.text()]
    return joined("\n", [*lines, *_paragraph(legend), *_paragraph(notes), *_paragraph(guide)])


def _heading(plan: SamplingPlan) -> Said:
    num, boundary = plan.num_steps, plan.boundary
    steps = said("{count} steps" if num > 1 else "{count} step", count=num)
    split = said("one expert") if boundary is None else said("boundary {boundary}", boundary=number_text(boundary))
    return joined("", [plan.model, ": ", joined(", ", [steps, plan.levels, split])])


def _row(step: StepPlan, cells: Iterable[str]) -> Said:
    before, behind = f"{step.index + 1:>4}  {step.sigma:>7.5f}  ", f"  {step.cfg:>4.3g}" + "".join(cells)
    return joined("", [before, _EXPERTS[step.expert], behind])


def _cells(plan: SamplingPlan, name: str, width: int) -> list[str]:
    """Return a LoRA's column: its strength at every step, a dash where it is not on the step's expert."""
    texts = ("-" if strength is None else f"{strength:.3f}" for strength in plan.strengths_of(name))
    return [f"  {text:>{width}}" for text in texts]


def _chunks(names: list[str], columns: dict[str, int], room: int) -> list[list[str]]:
    """Split the columns over as many tables as it takes; one without columns when there are none."""
    chunks: list[list[str]] = [[]]
    left = room
    for name in names:
        width = columns[name] + 2
        if width > left and chunks[-1]:
            chunks.append([])
            left = room
        chunks[-1].append(name)
        left -= width
    return chunks


def _paragraph(lines: Sequence[str]) -> list[str]:
    return ["", *lines] if lines else []
