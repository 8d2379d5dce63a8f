"""The widgets of the nodes that have to do with training."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_core.training.presets import PRESETS
from ..lora_core.training.settings.adapter import METHODS
from ..lora_core.training.settings.learning import EXPERT_CHOICES
from .clip_folders import EXAMPLES, EXTRA, clip_folders
from .training_request import NO_PRESET

_Widgets = list[io.Combo.Input | io.String.Input | io.Int.Input | io.Float.Input]
_MOST = 1_000_000


def clips_widgets() -> _Widgets:
    """Return the widgets that choose a folder of clips."""
    return [
        io.Combo.Input(
            "clips",
            options=clip_folders(),
            default=EXAMPLES,
            tooltip="A folder of videos and pictures with captions, below ComfyUI's input folder. "
            "The example clips come with WanLoom and are made for its pocket model.",
        ),
        io.String.Input(
            "clips_path",
            default="",
            tooltip="A folder that is not in the list, in the place of the one chosen: a path below ComfyUI's input, "
            f"output or temp folder, or below one that extra_model_paths.yaml names as {EXTRA}.",
            advanced=True,
        ),
    ]


def training_widgets() -> _Widgets:
    """Return the widgets that everybody sets."""
    return [
        io.String.Input(
            "name",
            default="my_lora",
            tooltip="What the files are called. The same name and settings again go on with a training that was "
            "stopped, or return its result.",
        ),
        io.String.Input("trigger", default="", tooltip="Words put in front of every caption; may be empty."),
        io.Combo.Input(
            "preset",
            options=[*PRESETS, NO_PRESET],
            default="character",
            tooltip="What the LoRA is for; it sets every key that nothing else sets. quick is for a try.",
        ),
        io.Combo.Input(
            "method",
            options=list(METHODS),
            default="lora",
            tooltip="lora; qlora, on a quantised base, for less memory; full, all weights, written as a LoRA of the "
            "rank.",
        ),
        io.Combo.Input(
            "experts", options=list(EXPERT_CHOICES), default="both", tooltip="Which experts learn; both in turns."
        ),
        _count("rank", "Of the LoRA; 0 for the preset's."),
        _count("steps", "Of both experts together; 0 for the preset's number."),
        io.Int.Input(
            "previews",
            default=4,
            min=0,
            max=1000,
            tooltip="How often videos are made in the course of the training, beside those of the base before it; "
            "0 for never. Each time takes as long as sampling them does.",
        ),
    ]


def size_widgets() -> _Widgets:
    """Return the widgets of the size that clips are brought to."""
    return [
        _count("num_frames", "Frames of a training clip, 4k + 1; 0 for the model's own.", advanced=True),
        _count(
            "resolution", "The side of the square whose area clips are scaled to; 0 for the model's own.", advanced=True
        ),
    ]


def settings_widget() -> io.String.Input:
    """Return the widget for whatever else the trainer may be told."""
    return io.String.Input(
        "settings",
        multiline=True,
        default="",
        tooltip="Any other key of the trainer, key=value, a line each: held_out=0.2. docs/training.md lists them.",
        advanced=True,
    )


def more_widgets() -> _Widgets:
    """Return the widgets that few set."""
    return [
        io.Float.Input(
            "lr",
            default=0.0,
            min=0.0,
            max=10.0,
            step=1e-5,
            round=1e-7,
            tooltip="The highest learning rate; 0 for the preset's.",
            advanced=True,
        ),
        _count("batch_size", "Clips a forward pass; 0 for the preset's number.", advanced=True),
        *size_widgets(),
        settings_widget(),
    ]


def _count(name: str, tooltip: str, *, advanced: bool = False) -> io.Int.Input:
    """Return the widget for a number of which 0 leaves the choice to others."""
    return io.Int.Input(name, default=0, min=0, max=_MOST, tooltip=tooltip, advanced=advanced or None)
