"""Reward: the last steps of a run learn to end where a judge likes the video better.

The run up to those steps is the model's own, recorded. Gradients go from the judge through the VAE and through the last
steps, the others being as they are (DRaFT-K, arXiv 2309.17400). What keeps the video the same one is its squared
distance, in latents, to where the model's own run ended.
Letters: B batch, C latent channels, F latent frames, H W latent height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ...errors import TrainingError
from ...families.opened import OpenedModel
from ..settings.noise import NoiseSettings
from .judge import Judge, find_judge
from .objective import Call
from .speed import Trajectories


@dataclass(frozen=True, eq=False)
class Reward:
    """The objective for one judge.

    Attributes:
        decode: normalised latents (B, C, F, H, W) -> frames, with gradients.
        num_steps: the last steps that gradients go through.
        num_latent_frames: how many from the first on are judged; None for all.
        keep: what the squared distance to the model's own end weighs.
    """

    judge: Judge
    decode: Callable[[Tensor], Tensor]
    num_steps: int
    num_latent_frames: int | None
    keep: float

    def __call__(self, call: Call, batch: Trajectories) -> Iterator[Tensor]:
        """Yield the loss of a batch of runs that end at level 0."""
        first = len(batch.states) - 1 - self.num_steps
        x = batch.states[first]
        for t, t_next in pairwise(batch.levels[first:]):
            velocity = call(x, x.new_full((len(x),), t), batch.condition)
            x = batch.condition.keep_known(x + (t_next - t) * velocity)
        kept = (x - batch.states[-1]).square().mean()
        score = self.judge(self.decode(x[:, :, : self.num_latent_frames]), batch.captions)
        yield self.keep * kept - score.mean()


def make_reward(noise: NoiseSettings, model: OpenedModel) -> Reward:
    """Return the objective that the settings ask for."""
    stride = model.spec.vae_stride[0]
    if noise.reward_frames % stride != 1 and noise.reward_frames:
        what, expected = f"{noise.reward_frames} frames end inside a latent one", f"{stride}k + 1, or 0 for all"
        raise TrainingError("reward_frames", what, expected=expected, remedy="Choose a number in that range")
    return Reward(
        judge=find_judge(noise.reward),
        decode=lambda latents: model.vae_decode(model.denormalise(latents)),
        num_steps=noise.reward_steps,
        num_latent_frames=(noise.reward_frames - 1) // stride + 1 if noise.reward_frames else None,
        keep=noise.reward_keep,
    )
