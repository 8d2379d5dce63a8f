"""The keys that say what is learnt from a clip: the objective and the noise levels it is drawn at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...checks import finite_number, known, whole_number
from ...errors import TrainingError

ObjectiveName = Literal["flow", "speed"]
OBJECTIVES: tuple[ObjectiveName, ...] = ("flow", "speed")
Distribution = Literal["logit_normal", "uniform"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("logit_normal", "uniform")


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """The objective, and how its noise levels t are drawn.

    Attributes:
        objective: `flow` predicts the velocity of the clips; `speed` lets a few steps without guidance land where the
            model's many guided steps land.
        timesteps: how t is distributed before the shift.
        timestep_scale: the deviation of the logit-normal distribution.
        shift: t = shift u / (1 + (shift - 1) u); 0 for the model's own.
        boundary: the t from which on the high-noise expert works; 0 for the model's own.
        caption_dropout: the share of draws whose caption is the empty one.
        student_steps: steps of the run that `speed` makes.
        teacher_steps: steps of the run that it shall land like; a multiple of student_steps.
        teacher_cfg: guidance of that run; 0 for the model's own.
        num_trajectories: how many runs of the teacher are recorded.
    """

    objective: ObjectiveName = "flow"
    timesteps: Distribution = "logit_normal"
    timestep_scale: float = 1.0
    shift: float = 0.0
    boundary: float = 0.0
    caption_dropout: float = 0.05
    student_steps: int = 6
    teacher_steps: int = 30
    teacher_cfg: float = 0.0
    num_trajectories: int = 64

    def __post_init__(self) -> None:
        known(self.objective, OBJECTIVES, "objective", TrainingError)
        known(self.timesteps, DISTRIBUTIONS, "timesteps", TrainingError)
        if finite_number(self.timestep_scale, "timestep_scale", TrainingError) <= 0:
            raise TrainingError("timestep_scale", f"{self.timestep_scale:g}", expected="a number above 0")
        for name in ("shift", "teacher_cfg"):
            if finite_number(getattr(self, name), name, TrainingError) < 0:
                raise TrainingError(
                    name, f"{getattr(self, name):g} is negative", expected="above 0, or 0 for the model's"
                )
        if not 0 <= finite_number(self.boundary, "boundary", TrainingError) < 1:
            expected = "a noise level below 1, such as 0.875, or 0 for the model's"
            raise TrainingError("boundary", f"{self.boundary:g}", expected=expected)
        if not 0 <= finite_number(self.caption_dropout, "caption_dropout", TrainingError) <= 1:
            raise TrainingError("caption_dropout", f"{self.caption_dropout:g} is no share", expected="0 to 1")
        for name in ("student_steps", "teacher_steps", "num_trajectories"):
            whole_number(getattr(self, name), name, TrainingError, low=1)
        if self.teacher_steps % self.student_steps:
            what = f"{self.teacher_steps} teacher steps do not pass through the student's {self.student_steps}"
            raise TrainingError("teacher_steps", what, expected=f"a multiple of {self.student_steps}")
