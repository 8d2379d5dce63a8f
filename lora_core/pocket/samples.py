"""Clips that a model makes of scenes' captions, many in one batch: what the pocket's quality is measured on.

Letters: B batch, T frames. Frames are float32 (B, T, 64, 64, 3) in [-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..attention.controller import make_controller
from ..attention.settings import usual_radial
from ..experts import EXPERTS
from ..families.condition import Condition
from ..families.opened import OpenedModel
from ..families.registry import family_of
from ..plan.planning import make_plan
from ..plan.settings import RunSettings
from ..regions.clip_mask import ClipSize, clip_masks
from ..sampling.noise import draw_noise
from ..sampling.sample import sample
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from . import world
from .experts import LATENT_SHAPE

BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class Sampler:
    """A model whose networks read short texts (`Family.fold_padding`), and the seed of its noise."""

    model: OpenedModel
    seed: int = 5000

    def __post_init__(self) -> None:
        for expert in EXPERTS[-self.model.spec.num_experts :]:
            family_of(self.model.spec).fold_padding(self.model.expert(expert))

    def clips(
        self,
        scenes: Sequence[world.Scene],
        settings: RunSettings,
        stack: LoraStack | None = None,
        *,
        num_frames: int = world.NUM_FRAMES,
        is_radial: bool = False,
        num_known: int = 1,
    ) -> np.ndarray:
        """Make a clip of each scene's caption; an image model is given the scene's first frame, or some of them."""
        spec = self.model.spec
        plan = make_plan(load_stack(stack or LoraStack(), spec), spec, settings)
        length = (num_frames - 1) // spec.vae_stride[0] + 1
        noise, clips = self._noise(len(scenes), length), []
        size = ClipSize(num_frames, world.SIZE_PX, world.SIZE_PX, spec.default_clip.fps)
        masks = clip_masks(plan.route.all, size, spec)
        for start in range(0, len(scenes), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            few = noise[part]
            radial = None
            if is_radial:
                radial = make_controller(spec, few.shape, plan.num_steps, usual_radial(spec, length))
            told = self._told(scenes[part], num_known)
            latents = sample(self.model, plan, few, told, radial=radial, masks=masks)
            clips.append(self._frames(latents))
        return np.concatenate(clips)

    def clips_of_texts(
        self, texts: Sequence[tuple[int, str]], settings: RunSettings, stack: LoraStack | None = None
    ) -> np.ndarray:
        """Make a clip of each (number, text), whose noise is that number's whatever the text and the others are.

        A model that needs a picture makes none of them.
        """
        spec = self.model.spec
        plan = make_plan(load_stack(stack or LoraStack(), spec), spec, settings)
        numbers = [number for number, _ in texts]
        noise = self._noise(max(numbers) + 1, (world.NUM_FRAMES - 1) // spec.vae_stride[0] + 1)[numbers]
        told = [text for _, text in texts]
        parts = [slice(start, start + BATCH_SIZE) for start in range(0, len(texts), BATCH_SIZE)]
        return np.concatenate([self._frames(sample(self.model, plan, noise[p], self._read(told[p]))) for p in parts])

    def _noise(self, num_clips: int, num_latent_frames: int) -> Tensor:
        channels, _, *size = LATENT_SHAPE
        return draw_noise((num_clips, channels, num_latent_frames, *size), self.seed)

    def _frames(self, latents: Tensor) -> np.ndarray:
        clips = torch.cat([self.model.vae_decode(few) for few in latents.split(8)])
        return clips.clamp(-1.0, 1.0).permute(0, 2, 3, 4, 1).float().numpy()

    def _read(self, prompts: Sequence[str]) -> Condition:
        text = self._texts(prompts)
        return Condition(text, self._texts([""], text.shape[1]).expand_as(text))

    def _told(self, scenes: Sequence[world.Scene], num_known: int) -> Condition:
        read = self._read([world.caption(scene) for scene in scenes])
        if self.model.spec.known_latents:
            return replace(read, known_frames=self._known(scenes, num_known))
        if not self.model.spec.image_conditioned:
            return read
        tell, channels = family_of(self.model.spec).condition, []
        for scene in scenes:
            told = tell(self.model, (read.positive[:1], None), (first_picture(scene), None), world.NUM_FRAMES)
            assert told.image_channels is not None
            channels.append(told.image_channels)
        return replace(read, image_channels=torch.cat(channels))

    def _known(self, scenes: Sequence[world.Scene], num_frames: int) -> Tensor:
        """Return the normalised latents (B, C, K, H, W) of the scenes' first frames."""
        drawn = np.stack([world.draw(scene)[:num_frames] for scene in scenes])
        return self.model.normalise(self.model.vae_encode(torch.from_numpy(drawn).permute(0, 4, 1, 2, 3).float()))

    def _texts(self, prompts: Sequence[str], num_tokens: int | None = None) -> Tensor:
        """Embed prompts with one pad behind the longest, which the networks count for all."""
        text = self.model.encode_text(prompts)
        return text[:, : num_tokens or 1 + max(self.model.num_tokens(prompt) for prompt in prompts)]


def first_picture(scene: world.Scene) -> Image.Image:
    """Return the first frame of a scene."""
    return Image.fromarray(((world.draw(scene, 1)[0] + 1.0) * 127.5).round().astype(np.uint8))
