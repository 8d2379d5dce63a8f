"""The keys that say what is learnt from a clip: the objective and the noise levels it is drawn at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ...checks import finite_number, known, whole_number
from ...errors import TrainingError
from ...wording import said

ObjectiveName = Literal["flow", "speed", "reward", "extend-length"]
OBJECTIVES: tuple[ObjectiveName, ...] = ("flow", "speed", "reward", "extend-length")
#: Those that learn from recorded runs of the model itself.
FROM_RUNS: tuple[ObjectiveName, ...] = ("speed", "reward")
Distribution = Literal["logit_normal", "uniform"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("logit_normal", "uniform")


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """The objective, and how its noise levels t are drawn.

    Attributes:
        objective: `flow` predicts the velocity of the clips; `speed` lets a few steps without guidance land where the
            model's many guided steps land; `reward` lets the last steps end where a judge likes the video better;
            `extend-length` is `flow` at a longer length than the model knows, and at that (`LengthSettings`).
        timesteps: how t is distributed before the shift.
        timestep_scale: the deviation of the logit-normal distribution.
        shift: t = shift u / (1 + (shift - 1) u); 0 for the model's own.
        boundary: the t from which on the high-noise expert works; 0 for the model's own.
        known_frames: how many latent frames from the first on are given and not learnt, for models that go on from
            frames: a number, or several such as "0,1,2" of which each batch takes one; "" for the model's own.
        caption_dropout: the share of draws whose caption is the empty one.
        student_steps: steps of the run that `speed` makes, or of that whose last ones `reward` changes.
        teacher_steps: steps of the run that it shall land like; a multiple of student_steps.
        teacher_cfg: guidance of that run; 0 for the model's own.
        num_trajectories: how many runs of the teacher are recorded.
        reward: the judge of `reward`, as "package.module:function" (`objectives.judge`).
        reward_steps: the last steps that gradients go through.
        reward_frames: frames from the first on that the judge sees, 4k + 1; 0 for all.
        reward_keep: what the squared distance to the model's own end weighs against the judge.
    """

    objective: ObjectiveName = "flow"
    timesteps: Distribution = "logit_normal"
    timestep_scale: float = 1.0
    shift: float = 0.0
    boundary: float = 0.0
    known_frames: str = ""
    caption_dropout: float = 0.05
    student_steps: int = 6
    teacher_steps: int = 30
    teacher_cfg: float = 0.0
    num_trajectories: int = 64
    reward: str = ""
    reward_steps: int = 1
    reward_frames: int = 0
    reward_keep: float = 1.0

    def __post_init__(self) -> None:
        known(self.objective, OBJECTIVES, "objective", TrainingError)
        known(self.timesteps, DISTRIBUTIONS, "timesteps", TrainingError)
        if finite_number(self.timestep_scale, "timestep_scale", TrainingError) <= 0:
            raise TrainingError(
                "timestep_scale", f"{self.timestep_scale:g}", expected="a number above 0", remedy="Raise it"
            )
        for name in ("shift", "teacher_cfg"):
            if finite_number(getattr(self, name), name, TrainingError) < 0:
                raise TrainingError(
                    name,
                    said("{value:g} is negative", value=getattr(self, name)),
                    expected="above 0, or 0 for the model's",
                    remedy="Raise it",
                )
        if not 0 <= finite_number(self.boundary, "boundary", TrainingError) < 1:
            expected = "a noise level below 1, such as 0.875, or 0 for the model's"
            raise TrainingError(
                "boundary", f"{self.boundary:g}", expected=expected, remedy="Choose a number in that range"
            )
        if not 0 <= finite_number(self.caption_dropout, "caption_dropout", TrainingError) <= 1:
            raise TrainingError(
                "caption_dropout",
                said("{caption_dropout:g} is no share", caption_dropout=self.caption_dropout),
                expected="0 to 1",
                remedy="Choose a number in that range",
            )
        self._check_reward()
        if not re.fullmatch(r"(\d{1,3}(\s*,\s*\d{1,3})*)?", self.known_frames):
            raise TrainingError(
                "known_frames",
                said("{known_frames!r:.60} are no numbers", known_frames=self.known_frames),
                expected='such as "1" or "0,1,2"',
                remedy="Correct the value",
            )
        for name in ("student_steps", "teacher_steps", "num_trajectories"):
            whole_number(getattr(self, name), name, TrainingError, low=1)
        if self.teacher_steps % self.student_steps:
            what = said(
                "{teacher_steps} teacher steps do not pass through the student's {student_steps}",
                teacher_steps=self.teacher_steps,
                student_steps=self.student_steps,
            )
            raise TrainingError(
                "teacher_steps",
                what,
                expected=said("a multiple of {student_steps}", student_steps=self.student_steps),
                remedy="Choose such a number",
            )

    @property
    def known_latents(self) -> tuple[int, ...]:
        """How many latent frames are given, one of these for each batch; () for the model's own."""
        return tuple(int(number) for number in self.known_frames.split(",") if number.strip())

    def _check_reward(self) -> None:
        if self.objective == "reward" and not self.reward:
            remedy = "Name a function, such as my_package.my_module:my_judge"
            raise TrainingError("reward", "no judge is named for objective = reward", remedy=remedy)
        whole_number(self.reward_steps, "reward_steps", TrainingError, low=1, high=self.student_steps)
        whole_number(self.reward_frames, "reward_frames", TrainingError, low=0)
        if finite_number(self.reward_keep, "reward_keep", TrainingError) < 0:
            raise TrainingError(
                "reward_keep",
                said("{reward_keep:g} is negative", reward_keep=self.reward_keep),
                expected="0 or more",
                remedy="Raise it",
            )
