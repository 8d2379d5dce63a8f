"""TRL's trainer as a tuning needs it: examples in an order of their own, and checkpoints that are whole or not there.

Imported only where something is tuned: TRL takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from ...errors import TrainingError
from ...training.checkpoints import (
    prune,
    random_state,
    read_checkpoint,
    restore_random_state,
    step_of,
    write_checkpoint,
)
from ...training.ranks import Ranks
from ...wording import said
from ..rows.examples import Example
from .config import TuneConfig
from .network import Learner, keeping_weights

#: Of a configuration -> transformers' names.
_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}
_TRAINER_STATE = "trainer_state.json"


def trainer_settings(config: TuneConfig, folder: Path, ranks: Ranks | None = None) -> SFTConfig:
    """Return a configuration as TRL has it: nothing is cut, packed, reported or sent anywhere.

    Raises:
        TrainingError: the batch cannot be shared by the processes that were launched.
    """
    several = ranks is not None and ranks.num > 1
    has_gpu = torch.cuda.is_available()
    if several and has_gpu and config.device == "cpu":
        raise TrainingError("device", "is the CPU, and each process has a GPU of its own", remedy="Leave it out")
    settings = SFTConfig(
        output_dir=str(folder),
        use_cpu=config.device == "cpu" or (several and not has_gpu),
        accelerator_config={"use_configured_state": True} if several else None,
        max_steps=config.steps,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.lr,
        lr_scheduler_type=f"{config.schedule}_with_warmup" if config.schedule == "constant" else config.schedule,
        warmup_steps=config.warmup_steps,
        optim=_OPTIMIZERS[config.optimizer],
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        bf16=False,
        fp16=False,
        activation_checkpointing=config.checkpointing,
        train_sampling_strategy="sequential",
        max_length=None,
        packing=False,
        eval_strategy="no",
        save_strategy="no",
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )
    if config.batch_size % settings.world_size:
        what = said(
            "{size} rows cannot be shared by {count} processes", size=config.batch_size, count=settings.world_size
        )
        raise TrainingError("batch_size", what, expected="a multiple of their number", remedy="Change it")
    settings.per_device_train_batch_size = config.batch_size // settings.world_size
    settings._n_gpu = min(settings.n_gpu, 1)  # one process takes one GPU; several are launched for several
    return settings


class TuneTrainer(SFTTrainer):
    """TRL's trainer on examples that are tokens already.

    What learns is stored and restored by its names, so that a tuning goes on bit for bit.

    Args:
        order: which example comes when.
        checkpoints: the folder that they are written into.
        keep: how many of the last ones stay.
    """

    def __init__(
        self,
        learner: Learner,
        settings: SFTConfig,
        examples: Sequence[Example],
        order: Sequence[int],
        callback: TrainerCallback,
        checkpoints: Path,
        keep: int,
    ) -> None:
        self._learner, self._checkpoints, self._keep = learner, checkpoints, keep
        self._state: dict[str, Any] = {}
        dataset = Dataset.from_list([example.row() for example in examples]).select(order)
        with keeping_weights(learner.network):
            super().__init__(
                model=learner.network,
                args=settings,
                train_dataset=dataset,
                processing_class=learner.tokenizer,
                callbacks=[callback],
            )
        self.remove_callback(PrinterCallback)

    def go(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint where there is one."""
        if checkpoint is None:
            self.train()
        else:
            self._state = read_checkpoint(checkpoint)
            if step_of(checkpoint) < self.args.max_steps:
                self.train(resume_from_checkpoint=str(checkpoint))
            else:  # all is learnt, and what came of it could not be written
                self._load_from_checkpoint(str(checkpoint))

    def _send_telemetry(self) -> None:
        """Tell nobody that something is trained here."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write everything that a tuning goes on from; one that cannot be written whole is not there."""
        random = gather_object([random_state()])
        optimizer, schedule = self._learning()
        if self.args.should_save:
            state = {
                "weights": {name: weight.detach() for name, weight in self._learner.weights().items()},
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "processes": random,
            }
            step = self.state.global_step
            write_checkpoint(self._checkpoints, step, state, lambda folder: self._write_state(folder))
            prune(self._checkpoints, keep_last=self._keep, keep_every=0, also=None)
        self.accelerator.wait_for_everyone()

    def _write_state(self, folder: Path) -> None:
        self.state.save_to_json(str(folder / _TRAINER_STATE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        stored, own = self._state["weights"], self._learner.weights()
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(stored[name])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            optimizer, schedule = self._learning()
            optimizer.load_state_dict(self._state["optimizer"])
            schedule.load_state_dict(self._state["schedule"])

    def _learning(self) -> tuple[Any, Any]:
        """Return the optimiser and the course of its rate, which are there once a training has begun."""
        return self.optimizer, self.lr_scheduler

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            processes = self._state["processes"]
            if self.args.process_index < len(processes):
                restore_random_state(processes[self.args.process_index])
