"""The widgets that the schemas of the nodes are put together from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from comfy_api.latest import io

from ..lora_core import SOLVERS, GenerationRequest, RunSettings
from ..lora_core.checks import number_in_text
from ..lora_core.errors import PlanError
from ..lora_core.experts.twins import pairs_among
from ..lora_core.plan.sigmas import check_boundary
from ..lora_core.sampling.noise import MAX_SEED
from .folders import lora_files


def stack_widget() -> io.String.Input:
    """Return the widget of a stack: JSON text, which the extension's JavaScript shows as rows."""
    files = lora_files()
    twins = _twins_among(tuple(files))
    return io.String.Input(
        "loras",
        multiline=True,
        default="[]",
        tooltip='The LoRAs as a JSON list: [{"path": "style_high.safetensors", "weight": 0.8}]. '
        "Further keys: name, low_noise_weight, applies_to (auto, high_noise, low_noise, both), schedule (fade_out, "
        "keyframes:1=0.2,0.5=1), targets, region (left, 0,0,0.5,1, mask.png), time (from 2s), low_noise_path, "
        "find_twin, enabled.",
        extra_dict={"lora_files": files, "twins": dict(twins)},
    )


@lru_cache(maxsize=2)
def _twins_among(files: tuple[str, ...]) -> Mapping[str, str]:
    """Return the pairs of a list: the host asks for each node's widgets at every run and twice for a page."""
    return pairs_among(files)


def partial_widget() -> io.Boolean.Input:
    return io.Boolean.Input(
        "allow_partial",
        default=False,
        optional=True,
        tooltip="Let a file through although some of its tensors match nothing in the model. "
        "The report still names them.",
        advanced=True,
    )


def words_output() -> io.String.Output:
    return io.String.Output(
        "trigger_words",
        display_name="trigger_words",
        tooltip="The words that the LoRAs ask for in the prompt, with commas between them.",
    )


def boundary_widget(about_auto: str) -> io.String.Input:
    return io.String.Input(
        "boundary",
        default="auto",
        tooltip=f"The noise level (sigma, 0 to 1) at and above which the high-noise expert works. {about_auto}",
    )


def denoise_widget(what: str) -> io.Float.Input:
    return io.Float.Input(
        "denoise",
        default=1.0,
        min=0.01,
        max=1.0,
        step=0.01,
        tooltip=f"Below 1 {what} from the latent given, with that share of the noise levels.",
    )


def parse_boundary(text: str | None) -> float | str:
    """Return the boundary that the widget's text stands for: "auto" or a sigma."""
    if text is None or text.strip().lower() in ("auto", ""):
        return "auto"
    return check_boundary(number_in_text(text, "boundary", PlanError))


def schedule_widgets() -> list[io.Int.Input | io.Float.Input]:
    """Return the widgets of the flow schedule."""
    return [
        io.Int.Input(
            "steps",
            default=RunSettings.num_steps,
            min=1,
            max=10_000,
            tooltip="How often the model is evaluated, by both experts together.",
        ),
        io.Float.Input(
            "shift",
            default=RunSettings.shift,
            min=0.01,
            max=100.0,
            step=0.1,
            tooltip="How long the run stays at high noise. Wan's few-step LoRAs are made for 5.",
        ),
    ]


def seed_widgets() -> list[io.Int.Input]:
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="The seed of the noise; the same as in core's samplers gives the same noise.",
        )
    ]


def guidance_widgets() -> list[io.Float.Input | io.Combo.Input]:
    """Return the widgets of guidance and solver."""
    cfg = {"default": RunSettings.cfg, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
    return [
        io.Float.Input(
            "cfg_high", **cfg, tooltip="Guidance of the high-noise expert. 1 is none: half the time, for speed LoRAs."
        ),
        io.Float.Input("cfg_low", **cfg, tooltip="Guidance of the low-noise expert."),
        io.Combo.Input(
            "solver",
            options=list(SOLVERS),
            default=GenerationRequest.solver,
            tooltip=" ".join(f"{solver.name}: {solver.about}." for solver in SOLVERS.values()),
        ),
    ]


def part_widgets() -> list[io.Int.Input | io.Combo.Input]:
    """Return the widgets that pick a part of the run, as core's KSamplerAdvanced has them."""
    return [
        io.Combo.Input(
            "add_noise",
            options=["enable", "disable"],
            default="enable",
            tooltip="Disable it to go on with a latent that has noise left over.",
            advanced=True,
        ),
        io.Int.Input("start_at_step", default=0, min=0, max=10_000, tooltip="The first step to do.", advanced=True),
        io.Int.Input(
            "end_at_step", default=10_000, min=0, max=10_000, tooltip="The step to stop before.", advanced=True
        ),
        io.Combo.Input(
            "return_with_leftover_noise",
            options=["disable", "enable"],
            default="disable",
            tooltip="Leave the noise in when the run stops early, for another sampler to go on.",
            advanced=True,
        ),
    ]


def size_widgets() -> list[io.Int.Input]:
    """Return the widgets of the size of scenes."""
    return [
        io.Int.Input("width", default=832, min=16, max=16384, step=16, tooltip="Of all scenes, in pixels."),
        io.Int.Input("height", default=480, min=16, max=16384, step=16, tooltip="Of all scenes, in pixels."),
        io.Int.Input("length", default=81, min=1, max=16384, step=4, tooltip="Frames of a scene that does not say."),
    ]
