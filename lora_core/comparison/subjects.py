"""The subjects that are judged by videos: the base alone, and the best trainings on each base they are put on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..training.settings.adapter import Method
from .config import CompareConfig, Run

#: What a training's files are put on: the weights as they were opened, or as a `qlora` packs them.
BaseName = Literal["plain", "packed"]
#: Method -> the base it is trained on, first, and what else it is judged on.
BASES: Mapping[Method, tuple[BaseName, ...]] = {"full": ("plain",), "lora": ("plain",), "qlora": ("packed", "plain")}


@dataclass(frozen=True)
class Subject:
    """One model to judge.

    Attributes:
        run: what is put on the base; None for the base alone.
    """

    base: BaseName
    run: Run | None = None

    @property
    def name(self) -> str:
        return f"{'base' if self.run is None else self.run.name}-{self.base}"

    @property
    def words(self) -> tuple[str, ...]:
        """What a process is told of it."""
        run = self.run
        return (self.name, self.base, *(() if run is None else (run.method, repr(run.lr), str(run.seed))))


def subjects_of(config: CompareConfig, best: Mapping[Method, float]) -> tuple[Subject, ...]:
    """Return all that is judged, the plain base first: what others have moved from."""
    bases = dict.fromkeys(base for method in config.settings.methods for base in BASES[method])
    alone = [Subject("plain"), *(Subject(base) for base in bases if base != "plain")]
    runs = [Run(method, lr, seed) for method, lr in best.items() for seed in config.settings.seeds]
    return (*alone, *(Subject(base, run) for run in runs for base in BASES[run.method]))
