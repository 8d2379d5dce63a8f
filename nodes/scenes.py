"""The node that makes several clips in one run: each scene has its prompt and LoRAs, and the model is loaded once."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import comfy.model_management
import torch
from comfy.sd import CLIP, VAE
from comfy_api.latest import io
from torch import Tensor

from ..lora_core import LoraStack, ModelError, ModelSpec, RequestError, SamplingPlan, load_stack
from ..lora_core.engine.request import Clip
from ..lora_core.engine.scenes import Scene, in_scene, scenes_from_json
from ..lora_core.families.wan.spec import wan_grammar
from ..lora_core.media.video import WAN_FPS
from ..lora_core.plan.report import report_on_stack
from ..lora_core.sampling.noise import MAX_SEED
from ..lora_core.stack.loading import Reader
from .folders import fingerprint, lora_folders
from .hosting import Node, schema
from .kept_loras import kept_reader
from .presets import preset_files, presets
from .route import boundary_widget, parse_boundary, schedule_widgets
from .sample import guidance_widgets, planned_otherwise, run_settings, seed_widgets
from .sockets import RunSettings, WanModelHandle, WanModelType
from .stack import files_of, joined
from .walk import Conditioning, Request, walk

_log = logging.getLogger(__name__)

_EXAMPLE = """[
  {"prompt": "a red circle moves right on a plain background"},
  {"prompt": "a blue star moves up on a striped background"}
]"""


class SceneLoras(Node):
    """Make one clip after another without loading the model again, each with its prompt and LoRAs, and join them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Scene LoRAs",
            search_aliases=["storyboard", "shot list", "multi scene", "prompt travel", "batch prompts", "long video"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model; LoRAs on it act in every scene, before the scene's."),
                io.Clip.Input("clip", tooltip="Reads the prompts."),
                io.Vae.Input("vae", tooltip="Decodes the clips; the VAE of the model's family."),
                io.String.Input(
                    "scenes",
                    multiline=True,
                    default=_EXAMPLE,
                    tooltip='The scenes as a JSON list: [{"prompt": "a cat runs", "length": 49, "preset": "neon"}]. '
                    'Instead of a preset "loras": a list as in Apply LoRA Stack. '
                    "Further keys: negative, seed. What a scene leaves out is as below.",
                ),
                *_size_widgets(),
                *seed_widgets(),
                *schedule_widgets(),
                *guidance_widgets(),
                boundary_widget("'auto' is what LoraRouteByNoise says, else the family's own."),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    tooltip="What no scene should show; read only where a cfg is not 1.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images", display_name="images", tooltip="The frames of all scenes, one after another."
                ),
                io.String.Output("report", display_name="report", tooltip="For each scene its LoRAs and its plan."),
            ],
        )

    @classmethod
    def validate_inputs(cls, scenes: str | None = None, boundary: str | None = None) -> bool | str:
        # The host repeats a message at every input named here; sizes are held to their steps by the widgets.
        return cls.checked(lambda: (parse_boundary(boundary), _check_scenes(scenes)))

    @classmethod
    def fingerprint_inputs(cls, scenes: str | None = None, **_: object) -> object:
        parsed = [] if scenes is None else scenes_from_json(scenes)
        return fingerprint(file for scene in parsed for file in _files(scene))

    @classmethod
    def execute(
        cls,
        model: WanModelHandle,
        clip: CLIP,
        vae: VAE,
        scenes: str,
        width: int,
        height: int,
        length: int,
        seed: int,
        steps: int,
        shift: float,
        cfg_high: float,
        cfg_low: float,
        solver: str,
        boundary: str,
        negative: str,
    ) -> io.NodeOutput:
        _check_model(model.spec, vae)
        settings = run_settings(model, boundary, steps, shift)
        frame = _Frame(width, height, length, seed, negative, settings, (cfg_high, cfg_low), solver)
        takes = _plan(scenes_from_json(scenes), model, frame)
        report = "\n\n".join([*(take.text(len(takes)) for take in takes), *planned_otherwise(model, settings)])
        latents = _sample(takes, frame, clip)
        return io.NodeOutput(_decode(latents, vae), report, ui={"text": [report]})


def _size_widgets() -> list[io.Int.Input]:
    return [
        io.Int.Input("width", default=832, min=16, max=16384, step=16, tooltip="Of all scenes, in pixels."),
        io.Int.Input("height", default=480, min=16, max=16384, step=16, tooltip="Of all scenes, in pixels."),
        io.Int.Input("length", default=81, min=1, max=16384, step=4, tooltip="Frames of a scene that does not say."),
    ]


@dataclass(frozen=True)
class _Frame:
    """Be what all scenes share, as far as they do not say otherwise."""

    width: int
    height: int
    length: int
    seed: int
    negative: str
    settings: RunSettings
    cfg: tuple[float, float]
    solver: str


@dataclass(frozen=True, eq=False)
class _Take:
    """Be one scene, planned: nothing can be wrong with it any more.

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

    def text(self, num_takes: int) -> str:
        preset = f", preset '{self.scene.preset}'" if self.scene.preset else ""
        frames = f"{self.clip.num_frames} frame{'s' if self.clip.num_frames > 1 else ''}"
        head = f"scene {self.number} of {num_takes}: {frames}, seed {self.seed}{preset}"
        lines = [self.scene.prompt]
        if self.negative:
            lines.append(f"not: {self.negative}")
        elif self.negative is None and self.scene.negative_prompt:
            lines.append("note: its negative prompt is not used, cfg is 1")
        lines += [row.text() for row in report_on_stack(self.model.stack, self.plan.route).rows]
        lines.append(self.plan.table())
        return "\n".join([head, textwrap.indent("\n".join(lines), "  ")])


def _check_scenes(text: str | None) -> None:
    """Check what needs no model; None is what comes from another node."""
    for number, scene in enumerate([] if text is None else scenes_from_json(text), 1):
        with in_scene(number):
            _stack_of(scene)
            _clip_of(scene, wan_grammar(), width=16, height=16, length=1)


def _check_model(spec: ModelSpec, vae: VAE) -> None:
    if spec.image_conditioned:
        remedy = "Use Sampler6Step with WanImageToVideo, or a T2V or TI2V model"
        raise ModelError("SceneLoras", f"{spec.title} continues a picture, and scenes have none", remedy=remedy)
    channels = vae.latent_channels
    if channels != spec.latent_channels:
        expected = f"{spec.latent_channels} for {spec.title}"
        raise ModelError("SceneLoras", f"the VAE has {channels} channels", expected=expected, remedy="Choose its VAE")


def _plan(scenes: tuple[Scene, ...], model: WanModelHandle, frame: _Frame) -> list[_Take]:
    """Find, read and plan everything before the first scene is sampled."""
    read = kept_reader(model.spec, allow_partial=model.allow_partial)
    takes = []
    for number, scene in enumerate(scenes, 1):
        with in_scene(number):
            takes.append(_plan_scene(number, scene, model, frame, read))
    return takes


def _plan_scene(number: int, scene: Scene, model: WanModelHandle, frame: _Frame, read: Reader) -> _Take:
    stack = joined(model.stack, _stack_of(scene, verify=True))
    loaded = load_stack(stack, model.spec, lora_folders=lora_folders(), read=read)
    dressed = model.with_stack(loaded)
    plan = dressed.plan(frame.settings, cfg=frame.cfg)
    is_guided = any(step.cfg != 1 for step in plan.steps)
    negative = frame.negative if scene.negative_prompt is None else scene.negative_prompt
    return _Take(
        number=number,
        scene=scene,
        model=dressed,
        plan=plan,
        clip=_clip_of(scene, model.spec, frame.width, frame.height, frame.length),
        seed=(frame.seed + number - 1) % (MAX_SEED + 1) if scene.seed is None else scene.seed,
        negative=negative if is_guided else None,
    )


def _sample(takes: list[_Take], frame: _Frame, clip: CLIP) -> list[Tensor]:
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
            solver=frame.solver,
            sigmas=take.plan.sigmas,
            shift=frame.settings.shift,
        )
        num_done = sum(done.plan.num_steps for done in takes[: take.number - 1])
        sampled, _ = walk(take.model, request, num_done=num_done, num_total=num_total)
        latents.append(sampled["samples"])
    return latents


def _encode(clip: CLIP, prompt: str) -> Conditioning:
    return clip.encode_from_tokens_scheduled(clip.tokenize(prompt))


def _encode_negative(encode: Callable[[str], Conditioning], take: _Take) -> Conditioning | None:
    return None if take.negative is None else encode(take.negative)


def _empty(clip: Clip) -> Tensor:
    return torch.zeros(clip.latent_shape, device=comfy.model_management.intermediate_device())


def _decode(latents: list[Tensor], vae: VAE) -> Tensor:
    """Return the frames of all scenes as an IMAGE (frames, height, width, 3)."""
    frames = []
    for latent in latents:
        comfy.model_management.throw_exception_if_processing_interrupted()
        frames.append(vae.decode(latent).flatten(0, -4))
    return torch.cat(frames)


def _stack_of(scene: Scene, *, verify: bool = False) -> LoraStack:
    """Return the scene's own LoRAs, their files found."""
    if scene.preset is not None:
        return presets().open(scene.preset, verify=verify)
    return (scene.loras or LoraStack()).resolved(lora_folders())


def _files(scene: Scene) -> Iterator[Any]:
    if scene.preset is not None:
        yield from preset_files(scene.preset)
    else:
        yield from files_of(_stack_of(scene))


def _clip_of(scene: Scene, spec: ModelSpec, width: int, height: int, length: int) -> Clip:
    """Return the scene's clip in numbers that fit the model."""
    num_frames = length if scene.num_frames is None else scene.num_frames
    with _called("num_frames", "length"):
        return Clip.of(spec, num_frames=num_frames, height=height, width=width, fps=WAN_FPS)


@contextmanager
def _called(ours: str, theirs: str) -> Iterator[None]:
    """Let an error name an argument as the widget is called."""
    try:
        yield
    except RequestError as error:
        if error.where != ours:
            raise
        raise RequestError(theirs, error.what, expected=error.expected, remedy=error.remedy) from error
