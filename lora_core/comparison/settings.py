"""The keys of the table [compare]: which methods, rates and seeds are tried, and what the videos are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..checks import finite_number, known, known_keys, whole_number
from ..errors import TrainingError
from ..training.settings.adapter import METHODS, Method
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
            _check_list(name, getattr(self, name), may_be_empty=name.endswith("prompts"))
        self._check_rates()
        whole_number(self.video_steps, "video_steps", TrainingError, low=0)
        if finite_number(self.video_cfg, "video_cfg", TrainingError) < 0:
            what, remedy = f"{self.video_cfg:g} is negative", "Give 0 for the model's own"
            raise TrainingError("video_cfg", what, expected="0 or more", remedy=remedy)
        if self.score != HELD_OUT and not self.learning_prompts:
            what = f"{self.score!r} is read from videos, and no prompt asks for one"
            raise TrainingError("score", what, remedy=f"Give learning_prompts, or choose score = {HELD_OUT!r}")

    def _check_rates(self) -> None:
        known_keys(self.rates, METHODS, "rates", TrainingError)
        for method, rates in self.rates.items():
            if method not in self.methods:
                raise TrainingError(f"rates.{method}", "would do nothing", remedy=f"Leave it out, or compare {method}")
            _check_list(f"rates.{method}", rates, may_be_empty=False)
            for rate in rates:
                if finite_number(rate, f"rates.{method}", TrainingError) <= 0:
                    what, remedy = f"{rate:g} teaches nothing", "Correct that rate, or leave it out"
                    raise TrainingError(f"rates.{method}", what, expected="above 0", remedy=remedy)


def compare_settings(table: Mapping[str, Any]) -> CompareSettings:
    """Build the settings from the table [compare] of a file; a key that nobody knows is refused."""
    known_keys(table, [f.name for f in fields(CompareSettings)], "compare", TrainingError)
    values = dict(table)
    for name in ("methods", "seeds", "learning_prompts", "drift_prompts"):
        if name in values:
            values[name] = _listed(name, values[name])
    rates = values.get("rates", {})
    if not isinstance(rates, Mapping):
        what, remedy = f"{rates!r:.60} is no table", "Write the rates of each method under [compare.rates]"
        raise TrainingError("rates", what, expected="lora = [1e-4, 3e-4]", remedy=remedy)
    values["rates"] = {method: _listed(f"rates.{method}", given) for method, given in rates.items()}
    return CompareSettings(**values)


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        what, remedy = f"{value!r:.60} is no list", "Put it in square brackets, even where it is but one"
        raise TrainingError(name, what, expected=f"{name.rpartition('.')[2]} = [ … ]", remedy=remedy)
    if name.endswith("prompts") and not all(isinstance(prompt, str) and prompt.strip() for prompt in value):
        what, remedy = f"{list(value)!r:.60} is no list of texts", "Put each prompt in quotation marks"
        raise TrainingError(name, what, expected='["…", "…"]', remedy=remedy)
    return tuple(value)


def _check_list(name: str, values: Sequence[Any], *, may_be_empty: bool) -> None:
    if not values and not may_be_empty:
        remedy = "Give one, or leave the key out for the usual ones"
        raise TrainingError(name, "none are given", expected="at least one", remedy=remedy)
    if twice := next((value for value in values if values.count(value) > 1), None):
        raise TrainingError(name, f"{twice!r:.60} is given twice", remedy="Leave one out")
