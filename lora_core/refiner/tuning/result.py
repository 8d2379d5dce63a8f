"""The result of a tuning: the folder that is opened as a refiner, and a record of how it came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...atomic import replacing_folder, write_text
from ...checkpoints.residency import offline
from ..card import RefinerCard
from ..opening import without_bars
from .config import TuneConfig
from .network import Learner

#: What peft and transformers lay beside the weights about themselves.
_UNWANTED = ("README.md",)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a tuning has led to.

    Attributes:
        folder: of the tuning.
        refiner: what `open_language_model` opens; None of one that is not over.
        steps: how many are done.
        stopped: why it ended early; "" where it did not.
        loss: of the last row of the log.
        held_out: the loss on the held-out rows: before, and at the end; None without any.
        ended: the share of a few learnt rows to which it gives an answer that ends.
        num_trainable, num_parameters: how many numbers learn, and how many the base has.
        num_rows, num_left_out: of the rows that are learnt, and those too long for it.
        num_tokens: that were gone through, of rows without padding, in all steps.
        seconds: of all steps together.
        memory_bytes: at the peak, of the device, or of the process where that is the CPU.
        notes: what is good to know, warnings among it.
    """

    folder: Path
    refiner: Path | None
    steps: int
    stopped: str
    loss: float | None
    held_out: tuple[float, float] | None
    ended: float | None
    num_trainable: int
    num_parameters: int
    num_rows: int
    num_left_out: int
    num_tokens: int
    seconds: float
    memory_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def seconds_per_step(self) -> float:
        """How long a step took."""
        return self.seconds / max(1, self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the record has it; its folder is where the record lies."""
        told = asdict(self) | {"refiner": None if self.refiner is None else self.refiner.name}
        told.pop("folder")
        return told | {"notes": [str(note) for note in self.notes], "stopped": str(self.stopped)}


def write_refiner(folder: Path, learner: Learner, config: TuneConfig, num_rows: int) -> None:
    """Write what a tuning has led to, in the place of what is there: all weights in the base's dtype, or an adapter."""
    card = RefinerCard(
        about=f"{config.name}: {config.method}, {config.steps} steps on {num_rows:,} rows",
        method=config.method,
        base=config.model,
        base_digest=learner.digest,
        instructions=config.system,
        language=config.language,
        num_steps=config.steps,
        num_rows=num_rows,
    )
    with replacing_folder(folder, lambda: None) as new, offline(), without_bars():
        new.mkdir()
        if config.method == "full":
            learner.network.to(learner.saved_as)
            learner.network.save_pretrained(str(new))
        else:
            learner.network.save_pretrained(str(new), save_embedding_layers=False)
        learner.tokenizer.save_pretrained(str(new))
        for name in _UNWANTED:
            (new / name).unlink(missing_ok=True)
        card.write(new)


def write_record(tuned: Tuned, path: Path, more: Mapping[str, Any]) -> None:
    """Write the record of a tuning that is over."""
    write_text(json.dumps({**tuned.to_dict(), **more}, indent=1, ensure_ascii=False) + "\n", path)
