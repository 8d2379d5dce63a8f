"""The keys that say how long and how fast is learnt: steps, optimiser, learning rate, batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...checks import finite_number, known, whole_number
from ...errors import TrainingError
from ...wording import said

ExpertChoice = Literal["both", "high", "low"]
EXPERT_CHOICES: tuple[ExpertChoice, ...] = ("both", "high", "low")
OptimizerName = Literal["adamw", "adamw8bit", "adafactor", "prodigy", "muon"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("adamw", "adamw8bit", "adafactor", "prodigy", "muon")
ScheduleName = Literal["constant", "cosine", "linear"]
SCHEDULES: tuple[ScheduleName, ...] = ("constant", "cosine", "linear")


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """How long and how fast is learnt.

    Attributes:
        experts: which expert learns; `both` in turns, each with an adapter and an optimiser of its own.
        steps: optimiser steps of the whole job, of both experts together.
        switch_every: after how many steps the experts change over; every change moves a network.
        high_share: the high-noise expert's share of the steps.
        batch_size: clips a forward pass.
        accumulation: forward passes a step.
        optimizer: whose state is kept for every weight that learns.
        lr: learning rate at its highest.
        weight_decay: of the optimiser.
        lr_schedule: how the learning rate goes on behind the warm-up.
        warmup: steps of each expert over which the learning rate rises from 0.
        max_grad_norm: gradients longer than this are shortened to it; 0 for never.
        ema: decay of a running average of the weights, which is then what is written; 0 for none.
        checkpointing: compute activations twice instead of keeping them.
        compile: let torch.compile make the blocks faster.
        seed: of everything random.
    """

    experts: ExpertChoice = "both"
    steps: int = 2000
    switch_every: int = 10
    high_share: float = 0.5
    batch_size: int = 1
    accumulation: int = 1
    optimizer: OptimizerName = "adamw"
    lr: float = 1e-4
    weight_decay: float = 0.01
    lr_schedule: ScheduleName = "constant"
    warmup: int = 0
    max_grad_norm: float = 1.0
    ema: float = 0.0
    checkpointing: bool = False
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        known(self.experts, EXPERT_CHOICES, "experts", TrainingError)
        known(self.optimizer, OPTIMIZERS, "optimizer", TrainingError)
        known(self.lr_schedule, SCHEDULES, "lr_schedule", TrainingError)
        for name in ("steps", "switch_every", "batch_size", "accumulation"):
            whole_number(getattr(self, name), name, TrainingError, low=1)
        whole_number(self.warmup, "warmup", TrainingError, low=0)
        whole_number(self.seed, "seed", TrainingError, low=0, high=2**63 - 1)
        if finite_number(self.lr, "lr", TrainingError) <= 0:
            raise TrainingError(
                "lr",
                said("{lr:g} teaches nothing", lr=self.lr),
                expected="above 0, usually 1e-5 to 1e-3",
                remedy="Raise it",
            )
        for name in ("weight_decay", "max_grad_norm"):
            if finite_number(getattr(self, name), name, TrainingError) < 0:
                raise TrainingError(
                    name,
                    said("{value:g} is negative", value=getattr(self, name)),
                    expected="0 or more",
                    remedy="Raise it",
                )
        if not 0 < finite_number(self.high_share, "high_share", TrainingError) < 1:
            expected = "above 0 and below 1, or experts = high or low"
            raise TrainingError(
                "high_share",
                said("{high_share:g} leaves an expert no step", high_share=self.high_share),
                expected=expected,
                remedy="Change it",
            )
        if not 0 <= finite_number(self.ema, "ema", TrainingError) < 1:
            raise TrainingError(
                "ema",
                f"{self.ema:g}",
                expected="a decay below 1 such as 0.99, or 0 for none",
                remedy="Choose a number in that range",
            )
