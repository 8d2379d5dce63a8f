"""The configuration of a comparison: the trainer's own keys for what is common, and the table [compare]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import typed
from ..errors import TrainingError
from ..families.registry import FAMILIES
from ..training.config import TrainConfig, all_keys, make_config, parse_settings, read_toml, with_whole_paths
from ..training.presets import usual_values
from ..training.settings.adapter import Method
from ..training.settings.learning import LearningSettings
from .measures import HELD_OUT, SCORES
from .settings import CompareSettings, compare_settings
from .table import split_table, values_with_table

#: Keys that a comparison sets itself, and what says it instead.
_OURS: Mapping[str, str] = {
    "method": "methods of [compare]",
    "lr": "rates of [compare]",
    "seed": "seeds of [compare]",
    "memory_plan": "nothing: a comparison changes no method to save memory",
    "patience": "nothing: all methods take the same steps",
    "full_rank": "nothing: of full training all weights are judged",
    "preview_every": "learning_prompts and drift_prompts of [compare]",
    "preview_prompts": "learning_prompts and drift_prompts of [compare]",
    "preview_seed": "nothing: every prompt has a seed of its own",
    "preview_steps": "video_steps of [compare]",
    "preview_cfg": "video_cfg of [compare]",
}
#: Keys that are about some of the methods.
_OF_METHODS: Mapping[str, tuple[Method, ...]] = {
    **dict.fromkeys(("adapter", "rank", "alpha", "rslora", "dropout"), ("lora", "qlora")),
    **dict.fromkeys(("base", "offload"), ("qlora",)),
}
#: Of a LoRA's usual rate: those that are tried of it, and those of all weights, which learn at about a tenth.
_STEPS: Mapping[Method, tuple[float, ...]] = {
    "full": (1 / 30, 1 / 10, 1 / 3),
    "lora": (1 / 3, 1, 3),
    "qlora": (1 / 3, 1, 3),
}


@dataclass(frozen=True)
class Run:
    """One training of a comparison."""

    method: Method
    lr: float
    seed: int

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.method}-{self.lr:g}-seed-{self.seed}"

    @property
    def words(self) -> tuple[str, ...]:
        """What a process is told of it."""
        return (self.method, repr(self.lr), str(self.seed))


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, and the trainer's keys that all methods have in common.

    Attributes:
        common: key -> value, as far as given, those of some methods alone too.
    """

    common: Mapping[str, Any]
    settings: CompareSettings

    def train_config(self, run: Run) -> TrainConfig:
        """Return the configuration of one training."""
        method = run.method
        given = {key: value for key, value in self.common.items() if method in _OF_METHODS.get(key, (method,))}
        own = {"method": method, "lr": run.lr, "seed": run.seed, "memory_plan": "as_asked"}
        return make_config({"name": method, **given, **own}, "comparison")

    @property
    def any_train_config(self) -> TrainConfig:
        """The configuration of the first training, for what all have in common."""
        return self.train_config(self.sweep[0])

    @property
    def sweep(self) -> tuple[Run, ...]:
        """The trainings that sweep the rates, all with the first seed."""
        seed = self.settings.seeds[0]
        return tuple(Run(method, lr, seed) for method in self.settings.methods for lr in self.rates(method))

    def rates(self, method: Method) -> tuple[float, ...]:
        """Return the rates that are tried of a method, from the lowest."""
        given = self.settings.rates.get(method)
        usual = self._usual_rate
        return tuple(sorted(given or (float(f"{usual * step:.1g}") for step in _STEPS[method])))

    @property
    def is_embedded(self) -> bool:
        """Whether the model is one that comes with the package, whose clips the pocket's measures read."""
        return any(self._model in family.embedded for family in FAMILIES)

    def values(self) -> dict[str, Any]:
        """Return everything as TOML has it, the rates that nobody gave too."""
        return values_with_table(
            self.common, self.settings, {method: self.rates(method) for method in self.settings.methods}
        )

    def to_toml(self) -> str:
        """Return a file that reads back to this."""
        import tomli_w

        return tomli_w.dumps(self.values())

    @property
    def _model(self) -> str:
        return str(self.common.get("model", "pocket"))

    @property
    def _usual_rate(self) -> float:
        preset = usual_values(self.common.get("preset", ""), self._model)
        return float(preset.get("lr", LearningSettings.lr))


@typed(TrainingError)
def make_comparison(given: Mapping[str, Any], where: str = "comparison") -> CompareConfig:
    """Build a comparison from the trainer's keys and the table `compare`, every training of it checked.

    Raises:
        TrainingError: a key that nobody knows, that a comparison sets itself, or that would do nothing for any of the
            methods; a value that no training could have.
    """
    common, table = split_table(given, all_keys(), _OURS, where)
    config = CompareConfig(common, compare_settings(table))
    _check(config)
    return config


@typed(TrainingError)
def read_comparison(path: str | Path, settings: Iterable[str] = (), **given: Any) -> CompareConfig:
    """Read a TOML file; `settings` of the form key=value, and `given` keys of the trainer, take the place of its own.

    Relative paths are taken from where the file lies.
    """
    path = Path(path)
    values = with_whole_paths(read_toml(path), path.parent)
    return make_comparison(values | with_whole_paths(parse_settings(settings) | given, Path()), path.name)


def _check(config: CompareConfig) -> None:
    """Raise where no training could be made, or something would do nothing."""
    settings = config.settings
    for key, methods in _OF_METHODS.items():
        if key in config.common and not set(methods) & set(settings.methods):
            remedy = f"Leave it out, or compare {' or '.join(methods)}"
            raise TrainingError(key, f"would do nothing with methods {', '.join(settings.methods)}", remedy=remedy)
    for run in config.sweep:
        made = config.train_config(run)
    if made.noise.objective != "flow":
        what = f"{made.noise.objective!r} is not compared"
        raise TrainingError("objective", what, expected="flow", remedy="Leave the key objective out")
    measure = SCORES[settings.score]
    if measure is not None and measure.embedded_only and not config.is_embedded:
        what = f"{settings.score!r} reads the clips of the embedded model alone"
        raise TrainingError("score", what, expected=HELD_OUT, remedy="Leave it out")
