"""Training of the speed LoRA: six steps without guidance that land where thirty guided steps land.

The teacher is the base pair, sampled deterministically. Its states at the student's noise levels are kept; the student
starts from the same noise, and each of its Euler steps is pulled to the teacher's next state, from wherever the
student's own steps before have led. Letters: B batch, N student steps. Everything is float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from ..plan.sigmas import flow_sigmas
from . import world
from .bars import progress_bar
from .experts import BOUNDARY_SIGMA, predict_velocity
from .flow import SHIFT, ExpertPair, sample_latents, seeded_noise
from .latents import World, training_scenes
from .muon import matrix_muon
from .train_loras import LoraPair, lora_tensors, with_new_lora
from .train_vae import warmup_then_cosine

SPEED = "speed_6steps"


@dataclass(frozen=True)
class SpeedConfig:
    """The teacher's sampling and the student's training."""

    teacher_steps: int = 30
    student_steps: int = 6
    cfg: float = 3.5
    num_clips: int = 448
    num_updates: int = 130
    batch_size: int = 32
    matrix_rate: float = 0.02
    seed: int = 40


@dataclass(frozen=True)
class Trajectories:
    """The teacher's states x at the student's noise levels, (N + 1, B, C, F, H, W), and the captions (B, L, width)."""

    states: Tensor
    text: Tensor


def record_teacher(config: SpeedConfig, pair: ExpertPair, parts: World) -> Trajectories:
    """Sample the teacher on captions it was trained on and keep every state that lies on the student's grid."""
    scenes = training_scenes(np.random.default_rng(config.seed), config.num_clips)
    text, empty_text = parts.embed([world.caption(scene) for scene in scenes]), parts.embed([""])
    noise = seeded_noise(config.num_clips, config.seed)
    parts_of_it = torch.arange(config.num_clips).split(config.batch_size)
    recorded = []
    with progress_bar(len(parts_of_it), "teacher") as advance:
        for index in parts_of_it:
            recorded.append(_teacher_states(config, pair, noise[index], text[index], empty_text))
            advance("")
    return Trajectories(torch.cat(recorded, dim=1), text)


def _teacher_states(config: SpeedConfig, pair: ExpertPair, noise: Tensor, text: Tensor, empty_text: Tensor) -> Tensor:
    stride = config.teacher_steps // config.student_steps
    states = [noise]

    def keep(step: int, x: Tensor) -> None:
        if (step + 1) % stride == 0:
            states.append(x)

    sample_latents(pair, noise, text, empty_text, flow_sigmas(config.teacher_steps, SHIFT), config.cfg, keep)
    return torch.stack(states)


def train_speed_pair(config: SpeedConfig, pair: ExpertPair, teacher: Trajectories) -> LoraPair:
    """Train the high-noise student first, then the low-noise one on the states that the first one reaches."""
    sigmas = flow_sigmas(config.student_steps, SHIFT)
    num_high = sum(sigma >= BOUNDARY_SIGMA for sigma in sigmas[:-1])
    high, low = (with_new_lora(expert, config.seed) for expert in (pair.high_noise, pair.low_noise))
    _follow(high, config, teacher, teacher.states[0], range(num_high), "speed high_noise")
    reached = _walk(high, teacher, teacher.states[0], sigmas[: num_high + 1])
    _follow(low, config, teacher, reached, range(num_high, config.student_steps), "speed low_noise")
    return LoraPair(lora_tensors(high), lora_tensors(low))


def _follow(
    student: WanTransformer3DModel,
    config: SpeedConfig,
    teacher: Trajectories,
    start: Tensor,
    steps: range,
    what: str,
) -> None:
    """Train the student's LoRA to walk from `start` (B, C, F, H, W) along the teacher's states."""
    sigmas = flow_sigmas(config.student_steps, SHIFT)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = matrix_muon([weight for weight in student.parameters() if weight.requires_grad], config.matrix_rate)
    with progress_bar(config.num_updates, what) as advance:
        for update in range(config.num_updates):
            for group in optimizer.param_groups:
                group["lr"] = config.matrix_rate * warmup_then_cosine(update, 15, config.num_updates)
            index = torch.randint(len(start), (config.batch_size,), generator=generator)
            optimizer.zero_grad()
            loss = _walk_with_gradients(student, teacher, start[index], index, steps, sigmas)
            optimizer.step()
            advance(f"loss {loss:.4f}")


def _walk_with_gradients(
    student: WanTransformer3DModel,
    teacher: Trajectories,
    x: Tensor,
    index: Tensor,
    steps: range,
    sigmas: Sequence[float],
) -> float:
    """Walk once, each step's error adding to the gradients for itself; return the last step's error."""
    text = teacher.text[index]
    loss = torch.zeros(())
    for step in steps:
        length = sigmas[step + 1] - sigmas[step]
        reached = x + length * predict_velocity(student, x, torch.full((len(x),), sigmas[step]), text)
        loss = (reached - teacher.states[step + 1][index]).square().mean() / abs(length)
        loss.backward()
        x = reached.detach()
    return loss.item()


@torch.no_grad()
def _walk(student: WanTransformer3DModel, teacher: Trajectories, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    return torch.cat(
        [
            sample_latents(ExpertPair(student, student), part, text, text[:1], sigmas, cfg=1.0)
            for part, text in zip(x.split(64), teacher.text.split(64), strict=True)
        ]
    )
