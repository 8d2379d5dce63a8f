"""The configuration of a comparison of refiners: what all its tunings have in common, and the table [compare]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...checks import typed, whole_path
from ...errors import TrainingError
from ...refiner.instructions import find_instructions, seen_from
from ...refiner.sources import POCKET_LM
from ...refiner.tuning.config import TuneConfig, key_kinds, make_tune_config
from ...training.config import parse_settings, read_toml
from ...training.settings.adapter import Method
from ..table import TABLE, split_table, values_with_table
from .settings import RefinersSettings, refiners_settings

if TYPE_CHECKING:
    from .folder import RefinersFolder

#: Keys that a comparison sets itself, and what says it instead.
_OURS: Mapping[str, str] = {
    "method": "methods of [compare]",
    "lr": "rates of [compare]",
    "seed": "seeds of [compare]",
    "rows": "num_rows of [compare]: rows are drawn",
    "rehearsal_rows": "num_rows of [compare]: rows are drawn",
    "rehearsal_share": "rehearsal of [compare]",
    "held_out_rows": "num_questions of [compare]: questions are drawn",
    "validate_every": "checkpoint_every: each checkpoint is asked",
    "keep_checkpoints": "nothing: each checkpoint is asked, and goes then",
    "name": "nothing: each training has its own",
}
_ADAPTERS = ("rank", "alpha", "targets", "dropout")
_KEEP = 1000


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Attributes:
        rank: of its adapter; 0 where all weights learn.
        rehearsal: the share of rows in known words.
    """

    method: Method
    lr: float
    rank: int
    rehearsal: float
    seed: int

    @property
    def name(self) -> str:
        """What its folder is called."""
        rank = f"-rank-{self.rank}" if self.rank else ""
        rehearsed = f"-rehearsal-{self.rehearsal:g}" if self.rehearsal else ""
        return f"{self.method}-{self.lr:g}{rank}{rehearsed}-seed-{self.seed}"

    @property
    def words(self) -> tuple[str, ...]:
        """What a process is told of it."""
        return (self.method, repr(self.lr), str(self.rank), repr(self.rehearsal), str(self.seed))


def run_of(method: str, lr: str, rank: str, rehearsal: str, seed: str) -> Run:
    """Return the training that a process is told of."""
    return Run(method, float(lr), int(rank), float(rehearsal), int(seed))  # type: ignore[arg-type]  # its own words


#: (method, share of rehearsal) -> the rate that is best.
Best = Mapping[tuple[Method, float], float]


@dataclass(frozen=True)
class RefinersConfig:
    """What is compared, and the keys of a tuning that all have in common, as far as given.

    Attributes:
        common: key -> value, those of adapters too.
    """

    common: Mapping[str, Any]
    settings: RefinersSettings

    def tune_config(self, run: Run, folder: RefinersFolder) -> TuneConfig:
        """Return the configuration of one training, whose rows lie in a folder."""
        own = {"method": run.method, "lr": run.lr, "seed": run.seed, "name": run.name, "rows": str(folder.rows)}
        common = {key: value for key, value in self.common.items() if run.rank or key not in _ADAPTERS}
        if run.rank:
            own["rank"] = run.rank
        if run.rehearsal:
            own |= {"rehearsal_rows": str(folder.rehearsal), "rehearsal_share": run.rehearsal}
        if self.common.get("checkpoint_every"):
            own["keep_checkpoints"] = _KEEP
        return make_tune_config({**common, **own}, "comparison")

    @property
    def model(self) -> str:
        """The language model that is tuned."""
        return str(self.common.get("model", POCKET_LM))

    @property
    def system(self) -> str:
        """The system prompt that it is tuned and asked with."""
        return find_instructions(str(self.common.get("system", ""))).text

    @property
    def rank(self) -> int:
        """The rank of adapters where no other is named."""
        return int(self.common.get("rank", TuneConfig.rank))

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of rehearsal that are tried, none first."""
        return (0.0, self.settings.rehearsal) if self.settings.rehearsal else (0.0,)

    @property
    def sweep(self) -> tuple[Run, ...]:
        """The trainings that sweep the rates, with rehearsal and without, all with the first seed."""
        return tuple(
            self._run(method, lr, share)
            for share in self.shares
            for method in self.settings.methods
            for lr in self.settings.rates[method]
        )

    def repeats(self, best: Best) -> tuple[Run, ...]:
        """Return those that repeat the best with the other seeds, and where asked for all that have no rehearsal."""
        again = [self._run(method, lr, share) for (method, share), lr in best.items()]
        if self.settings.repeated == "all":
            again += [run for run in self.sweep if not run.rehearsal]
        return tuple(replace(run, seed=seed) for run in dict.fromkeys(again) for seed in self.settings.seeds[1:])

    def ranked(self, best: Best) -> tuple[Run, ...]:
        """Return LoRA's trainings at other ranks: the least and the most sweep the rates, others take the best."""
        if not self.settings.ranks or ("lora", 0.0) not in best:
            return ()
        every = sorted({*self.settings.ranks, self.rank})
        others = [rank for rank in every if rank != self.rank]
        return tuple(
            replace(self._run("lora", lr, 0.0), rank=rank)
            for rank in others
            for lr in (self.settings.rates["lora"] if rank in (every[0], every[-1]) else (best["lora", 0.0],))
        )

    def planned(self, best: Best) -> tuple[Run, ...]:
        """Return all trainings, in the order in which the most is known the soonest."""
        return tuple(dict.fromkeys((*self.sweep, *self.repeats(best), *self.ranked(best))))

    def _run(self, method: Method, lr: float, share: float) -> Run:
        return Run(method, lr, 0 if method == "full" else self.rank, share, self.settings.seeds[0])

    def values(self) -> dict[str, Any]:
        """Return everything as TOML has it."""
        return values_with_table(self.common, self.settings, self.settings.rates)

    def to_toml(self) -> str:
        """Return a file that reads back to this."""
        import tomli_w

        return tomli_w.dumps(self.values())


@typed(TrainingError)
def make_refiners_config(given: Mapping[str, Any], where: str = "comparison") -> RefinersConfig:
    """Build a comparison from the keys of a tuning and the table `compare`, every training of it checked.

    Raises:
        TrainingError: a key that nobody knows, or that a comparison sets itself; a value that no training could have.
    """
    from .folder import RefinersFolder

    common, table = split_table(given, key_kinds(), _OURS, where)
    config = RefinersConfig(common, refiners_settings(table))
    if set(config.settings.methods) == {"full"} and (idle := [key for key in _ADAPTERS if key in common]):
        raise TrainingError(idle[0], "would do nothing with methods full", remedy="Leave it out")
    for run in config.sweep:
        config.tune_config(run, RefinersFolder(Path()))
    return config


@typed(TrainingError)
def read_refiners_config(path: str | Path, settings: Iterable[str] = ()) -> RefinersConfig:
    """Read a TOML file; `settings` of the form key=value take the place of its own.

    Relative paths are taken from where the file lies.
    """
    path = Path(path)
    values = _with_whole_paths(read_toml(path), path.parent)
    return make_refiners_config(values | parse_settings(settings, key_kinds()), path.name)


def _with_whole_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def whole(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
        named = {key: table[key] for key in keys if isinstance(table.get(key), str) and table[key]}
        return {key: whole_path(value, folder) for key, value in named.items() if value != POCKET_LM}

    table = values.get(TABLE, {})
    inner = {**table, **whole(table, "handwritten", "prompted")} if isinstance(table, Mapping) else table
    system = {"system": seen_from(values["system"], folder)} if isinstance(values.get("system"), str) else {}
    return {**values, **system, **whole(values, "model"), **({TABLE: inner} if TABLE in values else {})}
