"""The keys of the table [compare]: which methods, rates and seeds are tried, and what the videos are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..checks import finite_number, known, known_keys, whole_number
from ..errors import TrainingError
from ..training.settings.adapter import METHODS, Method
from .lists import check_list, check_rates, listed, listed_rates
from .measures import HELD_OUT, SCORES

#: The methods in the order in which they are tried and told of.
ALL_METHODS: tuple[Method, ...] = ("full", "lora", "qlora")
#: From how many rates a sweep is one, and seeds have a spread.
ENOUGH = 3


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared.

    Attributes:
        methods: those side by side.
        rates: method -> its learning rates; of those that are not named there are usual ones.
        seeds: of the trainings; the first one sweeps the rates, and the others repeat the best of them.
        score: what tells how much of the clips was learnt, a row of `measures.SCORES`.
        learning_prompts: what the score is read from: they ask for what the clips show.
        drift_prompts: they ask for what the clips do not show, and tell what else has changed.
        video_steps, video_cfg: how the prompts are sampled; 0 for the model's own.
    """

    methods: tuple[Method, ...] = ALL_METHODS
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    score: str = HELD_OUT
    learning_prompts: tuple[str, ...] = ()
    drift_prompts: tuple[str, ...] = ()
    video_steps: int = 0
    video_cfg: float = 0.0

    def __post_init__(self) -> None:
        for method in self.methods:
            known(method, METHODS, "methods", TrainingError)
        known(self.score, SCORES, "score", TrainingError)
        for seed in self.seeds:
            whole_number(seed, "seeds", TrainingError, low=0, high=2**63 - 1)
        for name in ("methods", "seeds", "learning_prompts", "drift_prompts"):
            check_list(name, getattr(self, name), may_be_empty=name.endswith("prompts"))
        check_rates(self.rates, self.methods)
        whole_number(self.video_steps, "video_steps", TrainingError, low=0)
        if finite_number(self.video_cfg, "video_cfg", TrainingError) < 0:
            what, remedy = f"{self.video_cfg:g} is negative", "Give 0 for the model's own"
            raise TrainingError("video_cfg", what, expected="0 or more", remedy=remedy)
        if self.score != HELD_OUT and not self.learning_prompts:
            what = f"{self.score!r} is read from videos, and no prompt asks for one"
            raise TrainingError("score", what, remedy=f"Give learning_prompts, or choose score = {HELD_OUT!r}")


def compare_settings(table: Mapping[str, Any]) -> CompareSettings:
    """Build the settings from the table [compare] of a file; a key that nobody knows is refused."""
    known_keys(table, [f.name for f in fields(CompareSettings)], "compare", TrainingError)
    values = dict(table)
    for name in ("methods", "seeds", "learning_prompts", "drift_prompts"):
        if name in values:
            values[name] = _listed(name, values[name])
    values["rates"] = listed_rates(values.get("rates", {}), "lora = [1e-4, 3e-4]")
    return CompareSettings(**values)


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    values = listed(name, value)
    if name.endswith("prompts") and not all(isinstance(prompt, str) and prompt.strip() for prompt in values):
        what, remedy = f"{list(values)!r:.60} is no list of texts", "Put each prompt in quotation marks"
        raise TrainingError(name, what, expected='["…", "…"]', remedy=remedy)
    return values
