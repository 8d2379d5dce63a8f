"""The nodes that load a Wan model, make one of two MODELs, and take one apart again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io

from ..lora_core import ModelError
from ..lora_core.families.wan.sources import WanSources, find_sources
from ..lora_core.plan.report import SAID_BY_ROWS
from ..lora_core.wording import Said, expert_named, joined, said
from .base import Missing, Node, schema, shown
from .bridge import bind, patched_shift, spec_of, with_shift
from .core_loaders import WEIGHT_DTYPES, load_clip, load_expert, load_vae
from .folders import fingerprint
from .radial_override import radial_of
from .sockets import WanModelHandle, WanModelType, model_of

POCKET = "pocket (built in)"
#: Choice of a model that comes with WanLoom -> its name everywhere else.
POCKETS = {
    POCKET: "pocket",
    "pocket I2V (built in)": "pocket-i2v",
    "pocket small (built in)": "pocket-small",
}
AUTO = "auto: find the twin"
SINGLE = "none: single expert"
NONE = "none"
_ASSUMED = said("note: six steps at shift 5 are assumed; LoraRouteByNoise before this node says otherwise")


class LoadWanModel(Node):
    """Load both experts of a Wan model, its text encoder and its VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        models = folder_paths.get_filename_list("diffusion_models")
        return schema(
            cls,
            display_name="Load Wan Model",
            search_aliases=["wan 2.2 loader", "high noise", "low noise", "unet loader", "diffusion model loader"],
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input(
                    "high_noise",
                    options=[*POCKETS, *models],
                    default=POCKET,
                    tooltip="The high-noise expert, or the only file of a Wan model with one expert. "
                    "The pocket models are tiny Wans that come with WanLoom and need no download.",
                ),
                io.Combo.Input(
                    "low_noise",
                    options=[AUTO, SINGLE, *models],
                    default=AUTO,
                    tooltip="The low-noise expert. 'auto' looks for the high-noise file's name with 'low' beside it.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=[NONE, *folder_paths.get_filename_list("text_encoders")],
                    default=NONE,
                    tooltip="UMT5-XXL, or 'none' if you load it elsewhere. The pocket model brings its own.",
                ),
                io.Combo.Input(
                    "vae",
                    options=[NONE, *folder_paths.get_filename_list("vae")],
                    default=NONE,
                    tooltip="The Wan VAE, or 'none' if you load it elsewhere. The pocket model brings its own.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    tooltip="What the experts' weights are held in, as in Load Diffusion Model. "
                    "Files that are fp8 already stay so with 'default'.",
                    advanced=True,
                ),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="Both experts as one model."),
                io.Clip.Output("clip", display_name="clip", tooltip="For CLIP Text Encode."),
                io.Vae.Output("vae", display_name="vae", tooltip="For VAE Decode, and VAE Encode or WanImageToVideo."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        high_noise: str | None = None,
        low_noise: str | None = None,
        text_encoder: str | None = None,
        vae: str | None = None,
    ) -> bool | str:
        choices = (high_noise, low_noise, text_encoder, vae)
        return cls.checked(lambda: None if None in choices else _choose(*choices))  # None comes from another node

    @classmethod
    def fingerprint_inputs(
        cls,
        high_noise: str | None = None,
        low_noise: str | None = None,
        text_encoder: str | None = None,
        vae: str | None = None,
        **_: object,
    ) -> object:
        if high_noise is None or low_noise is None or text_encoder is None or vae is None:
            return None
        files = _choose(high_noise, low_noise, text_encoder, vae)
        return fingerprint([files.high, files.low, files.text_encoder, files.vae])

    @classmethod
    def execute(cls, high_noise: str, low_noise: str, text_encoder: str, vae: str, weight_dtype: str) -> io.NodeOutput:
        files = _choose(high_noise, low_noise, text_encoder, vae)
        high = load_expert(files.high, weight_dtype)
        low = None if files.low is None else load_expert(files.low, weight_dtype)
        model = replace(paired(high, low, files.high.name), sources=files)
        is_pocket = high_noise in POCKETS
        if is_pocket:
            _show_true_colours(model)
        clip = None if files.text_encoder is None else _load_clip(files.text_encoder, is_pocket=is_pocket)
        return io.NodeOutput(
            model,
            clip or Missing(cls.name(), "no text encoder was chosen", "Choose one, or use another loader's CLIP"),
            load_vae(files.vae)
            if files.vae
            else Missing(cls.name(), "no VAE was chosen", "Choose one, or use another loader's VAE"),
            ui=shown(joined("\n", [describe(model), *(file.name for file in (files.high, files.low) if file)])),
        )


class PairWanModels(Node):
    """Make a Wan model of MODELs from any loader: GGUF, compiled, or patched otherwise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Pair Wan Models",
            search_aliases=["gguf", "combine high and low noise", "wan 2.2 pair"],
            has_intermediate_output=True,
            inputs=[
                io.Model.Input("high_noise", tooltip="The high-noise expert, or the only MODEL of a Wan with one."),
                io.Model.Input("low_noise", optional=True, tooltip="The low-noise expert of a Wan with two."),
            ],
            outputs=[WanModelType.Output("model", display_name="model", tooltip="Both experts as one model.")],
        )

    @classmethod
    def execute(cls, high_noise: ModelPatcher, low_noise: ModelPatcher | None = None) -> io.NodeOutput:
        model = paired(high_noise, low_noise, cls.name())
        return io.NodeOutput(model, ui=shown(joined("\n", [describe(model), *_unused_shifts(model)])))


class SplitWanModel(Node):
    """Take a Wan model apart into two MODELs that carry its LoRAs and their schedules, for other samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Split Wan Model",
            search_aliases=["take apart", "wan to ksampler", "unpair"],
            has_intermediate_output=True,
            inputs=[WanModelType.Input("model", tooltip="The model, with the LoRAs that ApplyLoraStack put on it.")],
            outputs=[
                io.Model.Output("high_noise", display_name="high_noise", tooltip="The high-noise expert."),
                io.Model.Output(
                    "low_noise", display_name="low_noise", tooltip="The low-noise expert, or the only one."
                ),
                io.Sigmas.Output("sigmas_high", display_name="sigmas_high", tooltip="The high-noise expert's levels."),
                io.Sigmas.Output("sigmas_low", display_name="sigmas_low", tooltip="The low-noise expert's levels."),
                io.Int.Output("switch_step", display_name="switch_step", tooltip="The first step of the low expert."),
            ],
        )

    @classmethod
    def execute(cls, model: WanModelHandle) -> io.NodeOutput:
        if model.guide is not None:
            remedy = "Sample with Sampler6Step, or split the model without SteerByModel"
            raise ModelError(cls.name(), "a guide steers it, of which other samplers know nothing", remedy=remedy)
        plan = model.plan(model.settings)
        experts = {
            name: with_shift(bind(patcher, plan.route.for_expert(name), model.spec, plan.sigmas), model.settings.shift)
            for name, patcher in model.experts()
        }
        if (radial := radial_of(model, plan.sigmas)) is not None:
            experts = {name: radial.on(patcher) for name, patcher in experts.items()}
        switch = sum(step.expert == "high_noise" for step in plan.steps)
        sigmas = torch.tensor(plan.sigmas, dtype=torch.float32)
        no_high = Missing(
            cls.name(), said("{spec} has no high-noise expert", spec=model.spec.title), "Use the low-noise output"
        )
        return io.NodeOutput(
            experts.get("high_noise", no_high),
            experts["low_noise"],
            sigmas[: switch + 1] if switch else sigmas[:0],
            sigmas[switch:],
            switch,
            ui=shown(joined("\n", [plan.table(without=SAID_BY_ROWS), *([] if model.is_routed else [_ASSUMED])])),
        )


def paired(first: ModelPatcher, second: ModelPatcher | None, where: str) -> WanModelHandle:
    """Return the model of a high-noise and a low-noise expert, or of a single network."""
    if second is None:
        return model_of(spec_of(first, num_experts=1, where=where), first)
    high, low = (spec_of(expert, num_experts=2, where=where) for expert in (first, second))
    high.check_twin(low, where, "the high-noise one")
    return model_of(high, second, first)


def describe(model: WanModelHandle) -> Said:
    """Say in one line what was loaded."""
    is_single = model.high_noise is None
    return said(
        "{model}: {experts}{picture}, weights {dtype}",
        model=model.spec.title,
        experts=said("one expert")
        if is_single
        else said("two experts, boundary {boundary}", boundary=f"{model.spec.boundary:g}"),
        picture=said(", wants a picture") if model.spec.image_conditioned else "",
        dtype=str(model.low_noise.model_dtype()).replace("torch.", ""),
    )


def _unused_shifts(model: WanModelHandle) -> list[str]:
    """Tell of a shift that another node patched into a MODEL; the schedule is the sampler's here."""
    return [
        said(
            "note: the {expert} MODEL brings a model sampling of its own (shift {shift}), which is not used: "
            "Sampler6Step and LoraRouteByNoise have a shift",
            expert=expert_named(name),
            shift=f"{shift:g}",
        )
        for name, patcher in model.experts()
        if (shift := patched_shift(patcher)) is not None
    ]


def _load_clip(path: Path, *, is_pocket: bool) -> CLIP:
    from .pocket_clip import load_pocket_clip

    return load_pocket_clip() if is_pocket else load_clip(path)


def _show_true_colours(model: WanModelHandle) -> None:
    from .pocket_previews import show_true_colours

    for _, expert in model.experts():
        show_true_colours(expert)


def _choose(high_noise: str, low_noise: str, text_encoder: str, vae: str) -> WanSources:
    """Return the files that the widgets' values stand for."""
    if high_noise in POCKETS:
        return _choose_pocket(POCKETS[high_noise], low_noise, text_encoder, vae)
    high = _file("diffusion_models", high_noise)
    if low_noise == SINGLE:
        found = WanSources(high)
    else:
        found = find_sources(high, low_noise=None if low_noise == AUTO else _file("diffusion_models", low_noise))
    given = {"text_encoder": ("text_encoders", text_encoder), "vae": ("vae", vae)}
    return replace(found, **{key: _file(*choice) for key, choice in given.items() if choice[1] != NONE})


def _choose_pocket(model: str, low_noise: str, text_encoder: str, vae: str) -> WanSources:
    others = [name for name in (low_noise, text_encoder, vae) if name not in (AUTO, NONE)]
    if others:
        remedy = said("Choose '{auto}' and '{none}', or another high-noise model", auto=AUTO, none=NONE)
        raise ModelError(
            "LoadWanModel",
            said("the pocket model brings all its parts, and {first!r} is no part of it", first=others[0]),
            remedy=remedy,
        )
    return find_sources(model)


def _file(folder: str, name: str) -> Path:
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise ModelError(
            name,
            said("no such file in the folder {folder!r}", folder=folder),
            remedy="Refresh the list and choose another",
        )
    return Path(path)
