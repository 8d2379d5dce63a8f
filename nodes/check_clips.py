"""The node that examines clips for a training: what is wrong with which file, and what the training would see."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io, ui

from ..lora_core import ModelSpec
from ..lora_core.errors import DatasetError
from ..lora_core.wording import Said, joined, said
from .base import Node, schema, shown
from .clip_folders import checked_folder, clips_folder, files_in
from .folders import fingerprint
from .pictures import picture_of
from .sockets import WanModelHandle, WanModelType
from .training_request import lines_of, settings_located
from .training_widgets import clips_widgets, settings_widget, size_widgets

if TYPE_CHECKING:
    from ..lora_core.training.settings.clips import ClipSettings


class CheckClips(Node):
    """Examine a folder of clips before a training: every file, what is wrong with it, and how it will be cut."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Check Clips",
            search_aliases=["dataset", "check dataset", "captions", "training clips", "contact sheet"],
            is_output_node=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model that is to be trained; it says what fits."),
                *clips_widgets(),
                *size_widgets(),
                settings_widget(),
            ],
            outputs=[
                io.String.Output("table", display_name="table", tooltip="Every file, what is wrong, and what to do."),
                io.Image.Output("sheet", display_name="sheet", tooltip="The clips, cut and sized for the training."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, clips: str | None = None, clips_path: str | None = None, settings: str | None = None
    ) -> bool | str:
        def check() -> None:
            _settings(settings or "")
            if clips is not None and clips_path is not None:  # None comes from another node
                checked_folder(clips, clips_path)

        return cls.checked(check)

    @classmethod
    def fingerprint_inputs(cls, clips: str | None = None, clips_path: str | None = None, **_: object) -> object:
        if clips is None or clips_path is None:
            return None
        return fingerprint(files_in(clips_folder(clips, clips_path)))

    @classmethod
    def execute(
        cls, model: WanModelHandle, clips: str, clips_path: str, num_frames: int, resolution: int, settings: str
    ) -> io.NodeOutput:
        sizes = {"num_frames": num_frames, "resolution": resolution}
        table, sheet = _examined(checked_folder(clips, clips_path), _settings(settings, sizes), model.spec)
        output = ui.PreviewImage(sheet, cls=cls).as_dict() | shown(table)
        return io.NodeOutput(table, sheet, ui=output)


def _settings(text: str, sizes: Mapping[str, int] | None = None) -> ClipSettings:
    """Return the keys that say how clips are read, from the widgets."""
    from ..lora_core.training.config import clip_settings

    own = [f"{key}={size}" for key, size in (sizes or {}).items() if size]
    with settings_located():
        return clip_settings([*own, *lines_of(text)])


def _examined(folder: Path, settings: ClipSettings, spec: ModelSpec) -> tuple[Said, torch.Tensor]:
    """Return what the doctor says of a folder, and its clips as a picture."""
    from ..lora_core.training.clips.doctor import diagnose
    from ..lora_core.training.clips.prepare import bucket_lines, buckets_of
    from ..lora_core.training.clips.report import table
    from ..lora_core.training.clips.sheet import save_sheet_of_files

    diagnosis = diagnose(folder, settings, spec)
    buckets = buckets_of(diagnosis.clips, settings, spec)
    lines = [table(diagnosis, buckets), *bucket_lines(buckets)]
    try:
        diagnosis.check()
    except DatasetError as error:
        lines.append(said("warning: no training would start from them. {error}", error=error.said))
    with tempfile.TemporaryDirectory(prefix="wanloom-clips-") as scratch:
        file = Path(scratch) / "sheet.png"
        note = save_sheet_of_files(diagnosis, spec, file) if diagnosis.clips else ""
        sheet = picture_of(file, "None of the files can be used; the table says why.")
    return joined("\n", [*lines, *([said("note: {text}", text=note)] if note else [])]), sheet
