"""The configuration of a tuning: every key, from a TOML file and single settings, checked as a whole."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...checks import finite_number, known, known_keys, typed, whole_number, whole_path
from ...errors import TrainingError
from ...training.config import check_name, parse_settings, read_toml, valued
from ...wording import said
from ..instructions import seen_from
from ..sources import POCKET_LM

Method = Literal["full", "lora", "qlora"]
METHODS: tuple[Method, ...] = ("full", "lora", "qlora")
Schedule = Literal["constant", "linear", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "linear", "cosine")
Precision = Literal["auto", "float32", "mixed", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "mixed", "bfloat16")
#: transformers' names; a paged state moves to the system's memory where a GPU has no room for it.
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "sgd"]
OPTIMIZERS: tuple[Optimizer, ...] = ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "sgd")
LongRows = Literal["error", "leave_out"]
LONG_ROWS: tuple[LongRows, ...] = ("error", "leave_out")
Device = Literal["auto", "cpu"]
DEVICES: tuple[Device, ...] = ("auto", "cpu")
#: The keys that name files or folders.
PATHS = ("model", "rows", "held_out_rows", "rehearsal_rows")
#: What stands for every linear layer but the head.
ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """All keys of a tuning.

    Attributes:
        rows: the file of rows that are learnt.
        model: `pocket-lm`, the folder of a language model, or a GGUF.
        held_out_rows: a file of rows that are only measured; "" for none.
        rehearsal_rows: a file of rows of what is known already, mixed in so that it stays known; "" for none.
        rehearsal_share: of every batch, as near as whole rows come to it.
        long_rows: what becomes of rows of more than `max_length` tokens; never are they cut.
        system: the system prompt before every row: a text, a file, or the name of instructions of ours; "" for none.
        language: of the answers, such as en, for the card of the result.
        alpha: over the rank, the factor of an adapter.
        targets: the linear layers with an adapter, by the ends of their names.
        batch_size: rows a forward pass, of all processes together; one step of the optimiser takes `accumulation`.
        precision: `mixed` keeps what learns in float32 and computes in bfloat16; auto is float32 on the CPU, and else
            mixed. Adapters are in float32 always.
        checkpointing: compute activations twice instead of keeping them.
        checkpoint_every, validate_every: steps; 0 for only at the end.
        keep_checkpoints: how many of the last ones stay.
        log_every: steps a row of the log is the mean of.
        device: auto for a GPU where there is one.
    """

    rows: str
    name: str = "refiner"
    model: str = POCKET_LM
    held_out_rows: str = ""
    rehearsal_rows: str = ""
    rehearsal_share: float = 0.0
    long_rows: LongRows = "error"
    max_length: int = 512
    system: str = ""
    language: str = ""
    method: Method = "lora"
    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = (ALL_LINEAR,)
    dropout: float = 0.0
    steps: int = 150
    batch_size: int = 16
    accumulation: int = 1
    optimizer: Optimizer = "adamw"
    lr: float = 1e-3
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    seed: int = 0
    precision: Precision = "auto"
    checkpointing: bool = False
    device: Device = "auto"
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    log_every: int = 1
    validate_every: int = 0

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            known(getattr(self, key), choices, key, TrainingError)
        for key, low in _LEAST.items():
            whole_number(getattr(self, key), key, TrainingError, low=low, high=2**32 - 1)
        for key in ("weight_decay", "max_grad_norm"):
            if finite_number(getattr(self, key), key, TrainingError) < 0:
                what = said("{value:g} is negative", value=getattr(self, key))
                raise TrainingError(key, what, expected="0 or more", remedy="Raise it")
        for key in ("lr", "alpha"):
            if finite_number(getattr(self, key), key, TrainingError) <= 0:
                what = said("{value:g} teaches nothing", value=getattr(self, key))
                raise TrainingError(key, what, expected="more than 0", remedy="Raise it")
        for key in ("dropout", "rehearsal_share"):
            if not 0 <= finite_number(getattr(self, key), key, TrainingError) < 1:
                what = said("{value:g} is out of range", value=getattr(self, key))
                raise TrainingError(key, what, expected="0 or more, and below 1", remedy="Change it")
        check_name(self.name)
        self._check_together()

    def _check_together(self) -> None:
        if not self.rows:
            raise TrainingError("rows", "there are none", expected="a file of JSON lines", remedy="Give a file of rows")
        if not self.targets:
            raise TrainingError("targets", "there are none", expected=ALL_LINEAR, remedy="Name layers")
        if self.precision == "bfloat16" and self.method != "full":
            what = said("bfloat16 would be the adapters' too, with method = {method}", method=self.method)
            raise TrainingError("precision", what, expected="mixed, or float32", remedy="Change it")
        if bool(self.rehearsal_rows) != (self.rehearsal_share > 0):
            what = said("rehearsal_rows and rehearsal_share do nothing without each other")
            raise TrainingError("rehearsal", what, remedy="Give both, or neither")
        if self.warmup_steps >= self.steps:
            what = said("{warmup} of {steps} steps", warmup=self.warmup_steps, steps=self.steps)
            raise TrainingError("warmup_steps", what, expected="fewer than steps", remedy="Lower it")

    def values(self) -> dict[str, Any]:
        """Return every key with its value, as TOML has it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def to_toml(self) -> str:
        """Return the configuration as a file that reads back to it."""
        import tomli_w

        return tomli_w.dumps(self.values())


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "long_rows": LONG_ROWS,
    "method": METHODS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "device": DEVICES,
}
_LEAST: Mapping[str, int] = {
    **dict.fromkeys(("max_length", "rank", "steps", "batch_size", "accumulation", "keep_checkpoints", "log_every"), 1),
    **dict.fromkeys(("warmup_steps", "checkpoint_every", "validate_every", "seed"), 0),
}
#: Keys -> when they act, and what to say where they do not.
_ACT_WITH: tuple[tuple[tuple[str, ...], str, Any], ...] = (
    (("rank", "alpha", "targets", "dropout"), "method = lora", lambda c: c.method != "full"),
    (("validate_every",), "held_out_rows", lambda c: c.held_out_rows),
    (("keep_checkpoints",), "checkpoint_every", lambda c: c.checkpoint_every),
)


@cache
def key_kinds() -> dict[str, Any]:
    """Return key -> the type of its values."""
    return typing.get_type_hints(TuneConfig)


@typed(TrainingError)
def make_tune_config(given: Mapping[str, Any], where: str = "tuning") -> TuneConfig:
    """Build a configuration from the keys somebody gave.

    Raises:
        TrainingError: a key that nobody knows, a value out of range or of another kind, or a key that would do nothing
            beside the others.
    """
    kinds = key_kinds()
    known_keys(given, kinds, where, TrainingError)
    values = {key: valued(key, value, kinds[key]) for key, value in given.items()}
    if not values.get("rows"):
        raise TrainingError(where, "no rows", expected="a file of JSON lines", remedy="Give a file of rows")
    config = TuneConfig(**_with_whole_paths(values, Path()))
    defaults = {f.name: f.default for f in fields(TuneConfig)}
    for keys, other, acts in _ACT_WITH:
        for key in keys:
            if not acts(config) and values.get(key, defaults[key]) != defaults[key]:
                what = said("would do nothing without {other}", other=other)
                raise TrainingError(key, what, remedy=said("Leave it out, or give {other}", other=other))
    return config


@typed(TrainingError)
def read_tune_config(path: str | Path, settings: Iterable[str] = (), **given: Any) -> TuneConfig:
    """Read a TOML file; `settings` of the form key=value, and `given` keys, take the place of what it says.

    Files that it names are looked for from where it lies.
    """
    path = Path(path)
    values = _with_whole_paths(read_toml(path), path.parent)
    return make_tune_config(values | parse_settings(settings, key_kinds()) | given, path.name)


def _with_whole_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the keys with whole paths in the place of those that start at a folder."""
    if isinstance(values.get("system"), str):
        values = {**values, "system": seen_from(values["system"], folder)}
    is_path = {key for key in PATHS if isinstance(values.get(key), str) and values[key]} - {
        key for key in ("model",) if values.get(key) == POCKET_LM
    }
    return {key: whole_path(value, folder) if key in is_path else value for key, value in values.items()}
