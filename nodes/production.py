"""The production of clips, one for each scene: all planned, then sampled, then decoded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import comfy.model_management
import torch
from comfy.sd import CLIP, VAE
from torch import Tensor

from ..lora_core import LoraStack, ModelSpec, RunSettings, SamplingPlan
from ..lora_core.engine.request import Clip
from ..lora_core.engine.scenes import Scene
from ..lora_core.errors import located, relocated
from ..lora_core.plan.report import SAID_BY_ROWS, report_on_stack
from ..lora_core.sampling.noise import MAX_SEED
from ..lora_core.wording import Said, indented, joined, said
from .radial_override import radial_of
from .sockets import WanModelHandle
from .stack_files import found, presets
from .stack_on_model import with_more
from .walk import Conditioning, Request, walk

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneDefaults:
    """The settings that all scenes share, as far as they do not say otherwise."""

    width: int
    height: int
    length: int
    seed: int
    negative: str
    settings: RunSettings
    solver: str


@dataclass(frozen=True, eq=False)
class Take:
    """One scene, planned: nothing can be wrong with it any more.

    Attributes:
        model: with the scene's LoRAs.
        clip: its size, checked against the model.
        negative: None where no step has guidance.
    """

    number: int
    scene: Scene
    model: WanModelHandle
    plan: SamplingPlan
    clip: Clip
    seed: int
    negative: str | None

    def text(self, num_takes: int) -> Said:
        preset = said(", preset '{preset}'", preset=self.scene.preset) if self.scene.preset else ""
        frames = self.clip.num_frames
        head = said(
            "scene {number} of {all}: {frames}, seed {seed}{preset}",
            number=self.number,
            all=num_takes,
            frames=said("{count} frames" if frames > 1 else "{count} frame", count=frames),
            seed=self.seed,
            preset=preset,
        )
        lines = [self.scene.prompt]
        if self.negative:
            lines.append(said("not: {prompt}", prompt=self.negative))
        elif self.negative is None and self.scene.negative_prompt:
            lines.append(said("note: its negative prompt is not used, cfg is 1"))
        lines += [row.text() for row in report_on_stack(self.model.loaded, self.plan.route).rows]
        lines.append(self.plan.table(without=SAID_BY_ROWS))
        return joined("\n", [head, indented(joined("\n", lines), "  ")])


def plan_takes(scenes: tuple[Scene, ...], model: WanModelHandle, defaults: SceneDefaults) -> list[Take]:
    """Find, read and plan everything before the first scene is sampled."""
    takes = []
    for number, scene in enumerate(scenes, 1):
        with located(f"scene {number}"):
            takes.append(_plan_scene(number, scene, model, defaults))
    return takes


def _plan_scene(number: int, scene: Scene, model: WanModelHandle, defaults: SceneDefaults) -> Take:
    dressed = model.with_loras(with_more(model, stack_of(scene, verify=True), allow_partial=model.allow_partial))
    plan = dressed.plan(defaults.settings)
    negative = defaults.negative if scene.negative_prompt is None else scene.negative_prompt
    return Take(
        number=number,
        scene=scene,
        model=dressed,
        plan=plan,
        clip=clip_of(scene, model.spec, defaults.width, defaults.height, defaults.length),
        seed=(defaults.seed + number - 1) % (MAX_SEED + 1) if scene.seed is None else scene.seed,
        negative=negative if plan.reads_negative else None,
    )


def sample_takes(takes: list[Take], defaults: SceneDefaults, clip: CLIP) -> list[Tensor]:
    """Return the latents of all scenes; all prompts are read first, so that the text encoder is needed once."""
    encode = cache(partial(_encode, clip))
    conditionings = [(encode(take.scene.prompt), _encode_negative(encode, take)) for take in takes]
    num_total = sum(take.plan.num_steps for take in takes)
    latents: list[Tensor] = []
    for take, (positive, negative) in zip(takes, conditionings, strict=True):
        comfy.model_management.throw_exception_if_processing_interrupted()
        _log.info("scene %d of %d: %s", take.number, len(takes), take.scene.prompt)
        request = Request(
            plan=take.plan,
            positive=positive,
            negative=negative,
            latent={"samples": _empty(take.clip)},
            seed=take.seed,
            solver=defaults.solver,
            sigmas=take.plan.sigmas,
            shift=defaults.settings.shift,
            radial=radial_of(take.model, take.plan.sigmas),
        )
        num_done = sum(done.plan.num_steps for done in takes[: take.number - 1])
        sampled, _ = walk(take.model, request, num_done=num_done, num_total=num_total)
        latents.append(sampled["samples"])
    return latents


def _encode(clip: CLIP, prompt: str) -> Conditioning:
    return clip.encode_from_tokens_scheduled(clip.tokenize(prompt))


def _encode_negative(encode: Callable[[str], Conditioning], take: Take) -> Conditioning | None:
    return None if take.negative is None else encode(take.negative)


def _empty(clip: Clip) -> Tensor:
    return torch.zeros(clip.latent_shape, device=comfy.model_management.intermediate_device())


def decode(latents: list[Tensor], vae: VAE) -> Tensor:
    """Return the frames of all scenes as an IMAGE (frames, height, width, 3)."""
    frames = []
    for latent in latents:
        comfy.model_management.throw_exception_if_processing_interrupted()
        frames.append(vae.decode(latent).flatten(0, -4))
    return torch.cat(frames)


def stack_of(scene: Scene, *, verify: bool = False) -> LoraStack:
    """Return the scene's own LoRAs, their files found."""
    if scene.preset is not None:
        return presets().open(scene.preset, verify=verify)
    return found(scene.loras or LoraStack())


def clip_of(scene: Scene, spec: ModelSpec, width: int, height: int, length: int) -> Clip:
    """Return the scene's clip in numbers that fit the model."""
    num_frames = length if scene.num_frames is None else scene.num_frames
    with relocated(lambda where: "length" if where == "num_frames" else where):  # as the widget is called
        return Clip.of(spec, num_frames=num_frames, height=height, width=width, fps=spec.default_clip.fps)
