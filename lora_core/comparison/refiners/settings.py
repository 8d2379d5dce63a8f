"""The keys of the table [compare]: which methods, rates, seeds and ranks are tried, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ...checks import finite_number, known, known_keys, whole_number
from ...errors import TrainingError
from ...pocket.requests.languages import LANGUAGES
from ...training.settings.adapter import METHODS, Method
from ..lists import check_list, check_rates, listed, listed_rates
from ..settings import ALL_METHODS

#: Which rates have all seeds: the best of each method, or every one.
Repeated = Literal["best", "all"]
REPEATED: tuple[Repeated, ...] = ("best", "all")
_LISTS = ("methods", "seeds", "ranks", "languages")
_WHOLE: Mapping[str, int] = {
    "num_rows": 1,
    "num_questions": 1,
    "num_examples": 0,
    "num_videos": 0,
    "video_steps": 1,
}


@dataclass(frozen=True, kw_only=True)
class RefinersSettings:
    """What is compared.

    Attributes:
        methods: those side by side.
        rates: method -> its learning rates.
        seeds: of the trainings; the first one sweeps the rates.
        repeated: whether the other seeds repeat the best rate of each method, or every rate that has no rehearsal.
        ranks: of LoRA, beside the common `rank`; the least and the most of them sweep the rates, others take the best.
        rehearsal: the share of rows in known words among those that are trained on, tried beside none; 0 for never.
        languages: of the requests that are drawn.
        num_rows: how many rows in new words there are to learn, and as many in known words to rehearse.
        num_questions: of each drawn set of questions.
        handwritten: a file of requests that nobody has drawn; "" for none.
        num_examples: how many examples a language model is shown at most that is prompted, not tuned.
        prompted: a further language model that is prompted alone, a folder or a GGUF; "" for none.
        num_videos: how many requests are made into videos; 0 for none.
        video_steps: of their sampling, with the pocket's LoRA for few steps.
    """

    methods: tuple[Method, ...] = ALL_METHODS
    rates: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...] = (0, 1, 2)
    repeated: Repeated = "best"
    ranks: tuple[int, ...] = ()
    rehearsal: float = 0.5
    languages: tuple[str, ...] = tuple(LANGUAGES)
    num_rows: int = 400
    num_questions: int = 96
    handwritten: str = ""
    num_examples: int = 8
    prompted: str = ""
    num_videos: int = 96
    video_steps: int = 6

    def __post_init__(self) -> None:
        for method in self.methods:
            known(method, METHODS, "methods", TrainingError)
        known(self.repeated, REPEATED, "repeated", TrainingError)
        for seed in self.seeds:
            whole_number(seed, "seeds", TrainingError, low=0, high=2**31 - 1)
        for rank in self.ranks:
            whole_number(rank, "ranks", TrainingError, low=1)
        for name, low in _WHOLE.items():
            whole_number(getattr(self, name), name, TrainingError, low=low)
        for language in self.languages:
            known(language, LANGUAGES, "languages", TrainingError)
        for name in ("methods", "seeds", "languages"):
            check_list(name, getattr(self, name), may_be_empty=False)
        check_list("ranks", self.ranks, may_be_empty=True)
        if not 0 <= finite_number(self.rehearsal, "rehearsal", TrainingError) < 1:
            what, remedy = f"{self.rehearsal:g} is no share", "Give 0 for no rehearsal"
            raise TrainingError("rehearsal", what, expected="0 or more, and less than 1", remedy=remedy)
        if self.ranks and "lora" not in self.methods:
            raise TrainingError("ranks", "would do nothing", remedy="Leave it out, or compare lora")
        check_rates(self.rates, self.methods)
        for method in self.methods:
            if method not in self.rates:
                raise TrainingError(
                    f"rates.{method}", "none are given", expected=f"{method} = [ … ]", remedy="Add them"
                )


def refiners_settings(table: Mapping[str, Any]) -> RefinersSettings:
    """Build the settings from the table [compare] of a file; a key that nobody knows is refused."""
    known_keys(table, [f.name for f in fields(RefinersSettings)], "compare", TrainingError)
    values = dict(table)
    for name in _LISTS:
        if name in values:
            values[name] = listed(name, values[name])
    rates = listed_rates(values.get("rates", {}), "lora = [1e-3, 3e-3]")
    for name in ("handwritten", "prompted"):
        if not isinstance(values.get(name, ""), str):
            raise TrainingError(name, f"{values[name]!r:.60} is no path", remedy="Put it in quotation marks")
    settings = RefinersSettings(**values | {"rates": rates})
    return replace(settings, rates={method: tuple(sorted(given)) for method, given in rates.items()})
