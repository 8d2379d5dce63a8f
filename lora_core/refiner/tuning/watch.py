"""The watch over a tuning: it logs and tells each step, measures, and says when a checkpoint is due or the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...training.guard import Guard
from ...training.log import RowLog
from ...training.memory.peak import peak_bytes
from ...wording import said
from .config import TuneConfig
from .listener import TuneListener, TuneStep
from .log import TuneRow

#: How many steps the time of a step is averaged over.
_WINDOW = 20


@dataclass
class Watch(TrainerCallback):
    """Who is called back by the trainer, around every step.

    Attributes:
        tokens_of: a step, from 1 -> how many tokens its rows have, of all processes.
        measure: the loss on the held-out rows now; None without any.
        look: called behind each step with its number, to look at what is learnt.
        last: the step behind which it ends, to be gone on with later where that is not the last of all.
    """

    config: TuneConfig
    log: RowLog[TuneRow]
    listener: TuneListener
    tokens_of: Callable[[int], int]
    measure: Callable[[], float] | None
    look: Callable[[int], None]
    should_stop: Callable[[], bool]
    last: int
    last_good: Callable[[], str]
    stopped: str = ""
    _began: float = 0.0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _since_log: list[tuple[float, int]] = field(default_factory=list)
    _guard: Guard = field(default_factory=Guard)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Measure what a model knows before its first step."""
        self._guard = Guard([row.loss for row in self.log.rows if row.loss is not None])
        if state.global_step == 0 and self.measure is not None and not self.log.rows:
            self._add(TuneRow(step=0, held_out=self._measured(0)))

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Say what is due behind a step."""
        step, seconds = state.global_step, time.perf_counter() - self._began
        self._seconds.append(seconds)
        self._since_log.append((seconds, self.tokens_of(step)))
        every = self.config.checkpoint_every
        is_last = step >= self.config.steps
        if step >= self.last and not is_last:
            self.stopped = self.stopped or said("it was to end behind step {step}", step=step)
        if self.should_stop() and not is_last:
            self.stopped = self.stopped or said("somebody has asked for an end")
        control.should_save = bool(self.stopped) or bool(every and (step % every == 0 or is_last))
        if self.stopped or is_last:
            control.should_training_stop = True
        if control.should_save or is_last:  # the trainer forgets what is not logged yet
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Log the steps since the last row, and tell of them."""
        if logs is None or "loss" not in logs:  # the trainer's own summary at the end
            return
        step, loss, norm = state.global_step, logs["loss"], float(logs.get("grad_norm", 0.0))
        times, self._since_log = self._since_log, []
        seconds, tokens = sum(time for time, _ in times), sum(count for _, count in times)
        every, config = self.config.validate_every, self.config
        is_due = self.measure is not None and (step >= config.steps or (every > 0 and step % every == 0))
        is_sound = loss == loss and norm == norm
        row = TuneRow(
            step=step,
            loss=loss,
            learning_rate=logs["learning_rate"],
            gradient_norm=norm,
            held_out=self._measured(step) if is_due and is_sound else None,
            seconds=seconds / len(times),
            tokens_per_second=tokens / seconds,
            memory_bytes=peak_bytes(),
        )
        self._add(row)
        self._guard.check(said("step {step}", step=step), loss, norm, self.last_good)
        self._tell(row)
        self.look(step)

    def _tell(self, row: TuneRow) -> None:
        assert row.loss is not None
        assert row.learning_rate is not None
        usual = sum(self._seconds) / len(self._seconds)
        remaining = usual * (self.config.steps - row.step)
        self.listener.step(
            TuneStep(
                row.step,
                self.config.steps,
                row.loss,
                row.learning_rate,
                usual,
                remaining,
                row.tokens_per_second or 0.0,
                row.memory_bytes or 0,
            )
        )

    def _measured(self, step: int) -> float:
        assert self.measure is not None
        loss = self.measure()
        self.listener.measured(step, loss)
        return loss

    def _add(self, row: TuneRow) -> None:
        self.log.append(row)
