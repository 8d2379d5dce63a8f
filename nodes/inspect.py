"""The node that shows what is in a LoRA file and what of it fits a model, whether it could be used or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import io, ui

from .. import lora_core
from ..lora_core import LoraCoreError, ModelSpec
from ..lora_core.files.containers.opening import open_tensor_file
from ..lora_core.stack.finding import find_lora
from ..lora_core.wording import said
from .base import Node, schema, shown
from .faults import for_page
from .folders import fingerprint, lora_files, lora_folders
from .sockets import WanModelHandle, WanModelType


class InspectLora(Node):
    """Show what is in a LoRA file: its account, its metadata, and a heat map of what it changes where."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Inspect LoRA",
            search_aliases=["lora info", "lora metadata", "trigger words", "lora rank", "lora keys not loaded"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "lora",
                    options=lora_files(),
                    tooltip="The file to look into. It need not be one that works: the report says what is wrong.",
                ),
                WanModelType.Input(
                    "model",
                    optional=True,
                    tooltip="The model it shall fit; without one it is held against every Wan model.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "report", display_name="report", tooltip="Format, expert, rank, and what becomes of every tensor."
                ),
                io.String.Output("metadata", display_name="metadata", tooltip="What the file says of itself, as JSON."),
                io.Image.Output(
                    "heat_map", display_name="heat_map", tooltip="How much it changes each module of each block."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, lora: str | None = None) -> bool | str:
        return cls.checked(lambda: None if lora is None else find_lora(lora, lora_folders()))

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, **_: object) -> object:
        return None if lora is None else fingerprint([find_lora(lora, lora_folders())])

    @classmethod
    def execute(cls, lora: str, model: WanModelHandle | None = None) -> io.NodeOutput:
        path = find_lora(lora, lora_folders())
        text, metadata = _account(path, None if model is None else model.spec)
        picture = torch.from_numpy(_heat_map(path)).float().div(255)[None]
        output = ui.PreviewImage(picture, cls=cls).as_dict() | shown(text)
        return io.NodeOutput(text, json.dumps(metadata, indent=2, ensure_ascii=False), picture, ui=output)


def _account(path: Path, spec: ModelSpec | None) -> tuple[str, Mapping[str, str]]:
    """Return the report on a file and its metadata; of a file that cannot be read at all, the reason."""
    try:
        report = lora_core.inspect_lora(path, spec=spec)
    except LoraCoreError as error:
        return said("refused: {error}", error=for_page(error).said), _metadata(path)
    return report.text(), report.metadata


def _metadata(path: Path) -> Mapping[str, str]:
    try:
        return open_tensor_file(path).metadata
    except LoraCoreError:
        return {}


def _heat_map(path: Path) -> np.ndarray:
    """Return the picture of all the file changes, whatever the model; of a file that is refused, the reason."""
    from ..lora_core.files.plot import delta_image
    from ..lora_core.media.figures import message_image

    try:
        return delta_image([lora_core.read_lora(path, allow_partial=True)])
    except LoraCoreError as error:
        return message_image(f"There is no heat map of a file that is refused.\n{for_page(error)}")
