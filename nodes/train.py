"""The node that trains LoRAs of a Wan model on clips, in a process beside ComfyUI."""

from __future__ import annotations

import time

import torch
from comfy.sd import CLIP, VAE
from comfy_api.latest import io

from ..lora_core.errors import DatasetError
from ..lora_core.wording import said
from .base import Node, schema, shown
from .base_files import base_files, named_files
from .clip_folders import checked_folder, clips_folder, files_in
from .folders import fingerprint, trainings_folder
from .pictures import picture_of
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .trained_files import installed, stack_of
from .training_request import TrainingRequest, check_name
from .training_widgets import clips_widgets, more_widgets, training_widgets


class TrainLoraFromClips(Node):
    """Train LoRAs of both experts, or of one, on clips with captions, in a process of its own beside ComfyUI."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Train LoRA from Clips",
            search_aliases=["train lora", "lora trainer", "finetune", "qlora", "wan training", "dataset"],
            is_output_node=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model, from LoadWanModel. LoRAs on it are left out."),
                *clips_widgets(),
                *training_widgets(),
                *more_widgets(),
                io.Clip.Input("clip", optional=True, tooltip="The text encoder, where LoadWanModel has none."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE, where LoadWanModel has none."),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="Clips as frames, in the place of the folder: one clip, or as many of the same length as "
                    "there are lines in 'captions'.",
                ),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="What the 'images' show: a line for each clip.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "high_noise", display_name="high_noise", tooltip="The high-noise file, as lists of LoRAs have it."
                ),
                io.String.Output(
                    "low_noise", display_name="low_noise", tooltip="The low-noise file, or that of the only expert."
                ),
                io.Image.Output("loss", display_name="loss", tooltip="The losses, step by step."),
                io.Image.Output("previews", display_name="previews", tooltip="The previews, step by step."),
                io.String.Output("report", display_name="report", tooltip="What was trained, and how it went."),
                LoraStackType.Output("stack", display_name="stack", tooltip="The LoRA, for Apply LoRA Stack."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        clips: str | None = None,
        clips_path: str | None = None,
        preset: str | None = None,
        name: str | None = None,
        settings: str | None = None,
    ) -> bool | str:
        def check() -> None:
            if name is not None:
                check_name(name)
            TrainingRequest(name="name", preset=preset or "quick", settings=settings or "").check()
            if clips is not None and clips_path is not None:  # None comes from another node
                checked_folder(clips, clips_path)

        return cls.checked(check)

    @classmethod
    def fingerprint_inputs(
        cls, clips: str | None = None, clips_path: str | None = None, name: str | None = None, **_: object
    ) -> object:
        if clips is None or clips_path is None or name is None:
            return None
        record = trainings_folder() / name.strip() / "result.json"
        if not record.is_file():
            return time.time_ns()  # what is not over runs whenever it is asked for
        return fingerprint([record, *installed(name), *files_in(clips_folder(clips, clips_path))])

    @classmethod
    def execute(
        cls,
        model: WanModelHandle,
        clips: str,
        name: str,
        trigger: str,
        preset: str,
        method: str,
        experts: str,
        rank: int,
        steps: int,
        previews: int,
        clips_path: str,
        lr: float,
        batch_size: int,
        num_frames: int,
        resolution: int,
        settings: str,
        clip: CLIP | None = None,
        vae: VAE | None = None,
        images: torch.Tensor | None = None,
        captions: str | None = None,
    ) -> io.NodeOutput:
        from .training_run import clips_of, run

        numbers = {"rank": rank, "steps": steps, "lr": lr, "batch_size": batch_size}
        numbers |= {"num_frames": num_frames, "resolution": resolution}
        asked = TrainingRequest(name.strip(), preset, trigger, method, experts, previews, numbers, settings)
        asked.check()
        files = base_files(model, clip, vae, named_files(asked.further()))
        _check_one_source(images is not None, captions is not None, clips_path)
        frames = None if images is None else clips_of(images, captions or "", model.spec.default_clip.fps)
        place = trainings_folder() / asked.name
        source = checked_folder(clips, clips_path) if frames is None else frames.place(place)
        done = run(asked.config(source, files), frames, _left_out(model))
        return io.NodeOutput(
            done.names.get("high_noise", ""),
            done.names.get("low_noise", ""),
            picture_of(done.folder.plot, "There is no plot of the losses."),
            picture_of(done.folder.previews / "sheet.png", "There are no previews: 'previews' was 0."),
            done.report,
            stack_of(done.names, done.config),
            ui={**shown(done.report), "training": [done.state]},
        )


def _check_one_source(has_images: bool, has_captions: bool, clips_path: str) -> None:
    """Refuse clips, or captions, that would not be used."""
    if has_captions and not has_images:
        remedy = "Connect the images, or disconnect the captions"
        raise DatasetError("captions", "there are no images that they could be of", remedy=remedy)
    if has_images and clips_path.strip():
        remedy = "Clear it, or disconnect the images"
        raise DatasetError("clips_path", "there are images in the place of a folder", remedy=remedy)


def _left_out(model: WanModelHandle) -> tuple[str, ...]:
    """Say which LoRAs a training leaves out."""
    if not len(model.loaded.stack):
        return ()
    count = len(model.loaded.stack)
    return (
        said(
            "note: the base alone was trained on; the {count} LoRA on the model were left out"
            if count == 1
            else "note: the base alone was trained on; the {count} LoRAs on the model were left out",
            count=count,
        ),
    )
