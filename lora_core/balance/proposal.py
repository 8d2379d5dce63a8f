"""Strengths at which the LoRAs that bring content keep within what the model bears; no other LoRA is touched.

A LoRA was trained alone, at strength 1: so the change that one of them makes is one the model is known to bear. The
budget of an expert is a little more than that, and all content LoRAs are lowered by one factor until their sum keeps
within it. Sums of strengths mean nothing here: what counts is |sum of s D|, so a file that holds the same change with
other numbers gets the same advice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ..experts import Expert
from ..files.purpose import Purpose
from ..plan.route import RoutedLora
from ..stack.entry import LoraEntry
from ..stack.stack import LoraStack
from .gram import Gram

#: What a LoRA is for that is no content: it makes the model what the run counts on, at the strength it was made for.
LEFT_ALONE: tuple[Purpose, ...] = ("speed", "length")
#: The budget by what one content LoRA does at strength 1; see benchmarks/balance.py.
BUDGET = 1.1
#: What is smaller than this part of the largest content LoRA takes no room in the budget, and is not lowered.
_SMALL = 0.1
#: Strengths are proposed in these steps, and lowered by less than one of them not at all.
_STEP = 0.01
#: Two strengths nearer to each other than this are proposed as one.
_ALIKE = 0.05


@dataclass(frozen=True)
class ProposedStrength:
    """The strength of one LoRA on one expert.

    Attributes:
        made_for: whose half of the row it is.
        before, after: the row's strength, and the one that is proposed; schedules and filters stay as they are.
        purpose: what the LoRA is for; see `LEFT_ALONE`.
    """

    name: str
    expert: Expert
    made_for: Expert
    before: float
    after: float
    purpose: Purpose

    @property
    def is_left_alone(self) -> bool:
        return self.purpose in LEFT_ALONE


@dataclass(frozen=True)
class Budget:
    """What the content LoRAs of one expert come to.

    Attributes:
        most: what their sum should come to at most.
        before, after: what it comes to, by the strengths there are and the proposed ones.
    """

    most: float
    before: float
    after: float

    @property
    def is_exceeded(self) -> bool:
        return self.after < self.before


@dataclass(frozen=True)
class Proposal:
    """Proposed strengths of a stack.

    Attributes:
        budgets: of the experts with two content LoRAs or more; one alone has nothing to be balanced with.
    """

    strengths: tuple[ProposedStrength, ...]
    budgets: Mapping[Expert, Budget] = field(default_factory=dict)

    @property
    def changes_anything(self) -> bool:
        return any(row.after != row.before for row in self.strengths)

    def apply_to(self, stack: LoraStack) -> LoraStack:
        """Return a stack with the proposed strengths; rows that get none stay as they are."""
        for entry in stack:
            own = {row.made_for: row.after for row in self.strengths if row.name == entry.name}
            if own:
                stack = stack.replace(entry.name, _with_strengths(entry, own))
        return stack

    def to_dict(self) -> dict[str, object]:
        """Return plain data for a record."""
        budgets = {expert: asdict(budget) for expert, budget in self.budgets.items()}
        return {"strengths": [asdict(row) for row in self.strengths], "budgets": budgets}


def propose(grams: Mapping[Expert, Gram], loras: Mapping[Expert, Sequence[RoutedLora]]) -> Proposal:
    """Propose strengths for the LoRAs routed to each expert, by what they change in weights or in outputs."""
    rows, budgets = [], {}
    for expert, gram in grams.items():
        counted, factor = _counted(gram, content_strengths(loras[expert])), 1.0
        if sum(strength != 0 for strength in counted) > 1:
            most, before = _budget(gram, counted), gram.together(counted, relief=False)
            factor = min(1.0, most / before)
            budgets[expert] = Budget(most, before, before * factor)
        rows += [
            _proposed(lora, factor if strength else 1.0)
            for lora, strength in zip(loras[expert], counted, strict=True)
            if lora.strength != 0
        ]
    return Proposal(tuple(_alike(rows)), budgets)


def content_strengths(loras: Sequence[RoutedLora]) -> list[float]:
    """Return the strongest that each LoRA gets, 0 for those that are left alone."""
    return [0.0 if lora.weights.purpose in LEFT_ALONE else lora.peak for lora in loras]


def _counted(gram: Gram, strengths: Sequence[float]) -> list[float]:
    """Return the same strengths, 0 for what is too small to take room in the budget."""
    sizes = gram.sizes([float(strength != 0) for strength in strengths]).tolist()
    least = _SMALL * max(sizes, default=0.0)
    return [strength if size > 0 and size >= least else 0.0 for strength, size in zip(strengths, sizes, strict=True)]


def _budget(gram: Gram, strengths: Sequence[float]) -> float:
    """Return the budget: what a content LoRA does at strength 1, a mean in which large ones count as they are large."""
    sizes = [float(size) for size in gram.sizes([float(strength != 0) for strength in strengths])]
    return BUDGET * sum(size**2 for size in sizes) / max(sum(sizes), 1e-12)


def _proposed(lora: RoutedLora, factor: float) -> ProposedStrength:
    purpose, after = lora.weights.purpose, lora.strength
    if factor < 1:
        after = math.copysign(math.floor(abs(lora.strength) * factor / _STEP + 1e-9) * _STEP, lora.strength)
    return ProposedStrength(lora.name, lora.expert, lora.made_for, lora.strength, round(after, 4), purpose)


def _alike(rows: Sequence[ProposedStrength]) -> list[ProposedStrength]:
    """Give a row one strength for both experts where it had one, and two would hardly differ: the lower one."""
    found = []
    for row in rows:
        own = [other for other in rows if other.name == row.name and other.before == row.before]
        afters = [other.after for other in own]
        is_alike = max(afters) - min(afters) < _ALIKE
        found.append(replace(row, after=min(afters, key=abs)) if is_alike else row)
    return found


def _with_strengths(entry: LoraEntry, strengths: Mapping[Expert, float]) -> LoraEntry:
    """Return a row with strengths on the experts that it acts on."""
    high, low = strengths.get("high_noise"), strengths.get("low_noise")
    if high is None:
        assert low is not None, "of one half or both"
        has_own = entry.low_noise_strength is not None
        return replace(entry, low_noise_strength=low) if has_own else replace(entry, strength=low)
    if low is None or (low == high and entry.low_noise_strength is None):
        return replace(entry, strength=high)
    return replace(entry, strength=high, low_noise_strength=low)
