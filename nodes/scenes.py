"""The node that makes several clips in one run: each scene has its prompt and LoRAs, and the model is loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from comfy.sd import CLIP, VAE
from comfy_api.latest import io

from ..lora_core import ModelError, ModelSpec
from ..lora_core.engine.scenes import Scene, scenes_from_json
from ..lora_core.errors import located
from ..lora_core.stack.row_files import files_of
from ..lora_core.wording import joined, said
from .base import Node, schema, shown
from .folders import fingerprint
from .production import SceneDefaults, clip_of, decode, plan_takes, sample_takes, stack_of
from .run_settings import planned_otherwise, run_settings
from .sockets import WanModelHandle, WanModelType
from .stack_files import preset_files
from .widgets import boundary_widget, guidance_widgets, parse_boundary, schedule_widgets, seed_widgets, size_widgets

#: For checks before a model is known: sizes are held to the usual grid.
_ANY_MODEL = ModelSpec("any", "any model", {}, vae_stride=(4, 8, 8), patch_size=(1, 2, 2))

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
                *size_widgets(),
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
        run = replace(settings, cfg=(cfg_high, cfg_low))
        defaults = SceneDefaults(width, height, length, seed, negative, run, solver)
        takes = plan_takes(scenes_from_json(scenes), model, defaults)
        report = joined("\n\n", [*(take.text(len(takes)) for take in takes), *planned_otherwise(model, settings)])
        latents = sample_takes(takes, defaults, clip)
        return io.NodeOutput(decode(latents, vae), report, ui=shown(report))


def _check_scenes(text: str | None) -> None:
    """Check what needs no model; None is what comes from another node."""
    for number, scene in enumerate([] if text is None else scenes_from_json(text), 1):
        with located(f"scene {number}"):
            stack_of(scene)
            clip_of(scene, _ANY_MODEL, width=16, height=16, length=1)


def _check_model(spec: ModelSpec, vae: VAE) -> None:
    if spec.image_conditioned:
        remedy = "Use Sampler6Step with WanImageToVideo, or a T2V or TI2V model"
        raise ModelError(
            "SceneLoras", said("{spec} continues a picture, and scenes have none", spec=spec.title), remedy=remedy
        )
    channels = vae.latent_channels
    if channels != spec.latent_channels:
        expected = said("{count} for {spec}", count=spec.latent_channels, spec=spec.title)
        raise ModelError(
            "SceneLoras",
            said("the VAE has {channels} channels", channels=channels),
            expected=expected,
            remedy="Choose its VAE",
        )


def _files(scene: Scene) -> Iterator[Any]:
    if scene.preset is not None:
        yield from preset_files(scene.preset)
    else:
        yield from files_of(stack_of(scene))
