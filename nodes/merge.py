"""The node that makes one LoRA file of many: merged in the ranks, with the error told, among the host's LoRAs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths
import torch
from comfy_api.latest import io

from ..lora_core import LoraStack, MergeRecipe, OutputError
from ..lora_core.merging.recipe import METHODS, SPARSE
from ..lora_core.wording import joined, said
from .base import Node, schema, shown
from .progress import at_the_node
from .sockets import LoraStackType, WanModelHandle, WanModelType
from .stack_on_model import with_more

if TYPE_CHECKING:
    from ..lora_core.merging.bases import ReadBaseOf

#: The folder of ours inside the host's first folder of LoRAs.
FOLDER = "merged"
AUTO = "auto"
_DTYPES = (AUTO, "float16", "bfloat16", "float32")


class MergeLoras(Node):
    """Make one LoRA file of many, or a pair, that acts as they do together, and say what a smaller file loses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Merge LoRAs",
            search_aliases=[
                "merge lora",
                "combine loras",
                "lora to file",
                "resize lora",
                "ties",
                "dare",
                "extract lora",
            ],
            is_output_node=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model, with LoRAs on it that are merged, too."),
                LoraStackType.Input("stack", optional=True, tooltip="More LoRAs to merge, behind those on the model."),
                io.String.Input(
                    "name",
                    default="my merge",
                    tooltip="What to call the file, in the folder 'merged' of your LoRAs. "
                    "A merge of that name is written over; any other file is not.",
                ),
                *_size_widgets(),
                io.Combo.Input(
                    "method",
                    options=[AUTO, *METHODS],
                    default=AUTO,
                    tooltip="auto: all side by side, which is exact, or the nearest of the size asked for (svd). "
                    "ties, dare and knots let changes that contradict each other give way.",
                ),
                *_further_widgets(),
            ],
            outputs=[
                LoraStackType.Output(
                    "stack", display_name="stack", tooltip="The merged LoRA alone, for Apply LoRA Stack."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="Files, ranks, and the error as a whole and at its worst."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, name: str | None = None, rank: int = 0, energy: float = 0.0, megabytes: float = 0.0, method: str = AUTO
    ) -> bool | str:
        def check() -> None:
            _recipe(rank or 0, energy or 0.0, megabytes or 0.0, method or AUTO)
            if name is not None:
                _path(name)

        return cls.checked(check)

    @classmethod
    def execute(
        cls,
        model: WanModelHandle,
        name: str,
        rank: int,
        energy: float,
        megabytes: float,
        method: str,
        stack: LoraStack | None = None,
        density: float = 0.5,
        dare_seed: int = 0,
        dtype: str = AUTO,
        refuse_schedules: bool = False,
    ) -> io.NodeOutput:
        from ..lora_core.merging.merge import merge_loras, output_experts
        from ..lora_core.merging.merged import output_paths

        recipe = _recipe(rank, energy, megabytes, method, density, dare_seed, dtype)
        loaded = with_more(model, stack or LoraStack())
        path = _path(name)
        for file in output_paths(path, output_experts(loaded) or (None,)):
            _check_replaceable(file)
        merged = merge_loras(
            loaded,
            recipe=recipe,
            schedules="refuse" if refuse_schedules else "strength",
            base=_base_of(model),
            progress=at_the_node(),
        )
        files = merged.write(path)
        report = joined("\n", [*(_listed(file) for file in files), merged.text()])
        return io.NodeOutput(_stack_of(files, name), report, ui=shown(report))


def _size_widgets() -> list[io.Int.Input | io.Float.Input]:
    """Return the widgets that say how small the file shall be; 0 leaves each of them out."""
    return [
        io.Int.Input("rank", default=0, min=0, max=4096, tooltip="The rank of every layer. 0 for no limit."),
        io.Float.Input(
            "energy",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Give each layer the fewest ranks that hold this share of its squares. 0 for no limit.",
        ),
        io.Float.Input(
            "megabytes",
            default=0.0,
            min=0.0,
            max=100_000.0,
            step=0.1,
            tooltip="Give each file the ranks that matter most in so many megabytes. 0 for no limit.",
        ),
    ]


def _further_widgets() -> list[io.Int.Input | io.Float.Input | io.Combo.Input | io.Boolean.Input]:
    """Return the widgets that few need."""
    return [
        io.Float.Input(
            "density",
            default=0.5,
            min=0.01,
            max=1.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="The share of values that ties, dare and knots keep.",
        ),
        io.Int.Input(
            "dare_seed", default=0, min=0, max=2**31 - 1, optional=True, advanced=True, tooltip="Of what dare keeps."
        ),
        io.Combo.Input(
            "dtype",
            options=list(_DTYPES),
            default=AUTO,
            optional=True,
            advanced=True,
            tooltip="Of the file's tensors. auto is that of the LoRAs, or float32 where it would round an exact merge.",
        ),
        io.Boolean.Input(
            "refuse_schedules",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Refuse a LoRA with a schedule instead of merging it at its strength.",
        ),
    ]


def _recipe(
    rank: int,
    energy: float,
    megabytes: float,
    method: str,
    density: float = 0.5,
    seed: int = 0,
    dtype: str = AUTO,
) -> MergeRecipe:
    """Return what the widgets ask for, checked."""
    return MergeRecipe(
        method=None if method == AUTO else method,  # type: ignore[arg-type]  # the recipe refuses what it does not know
        rank=rank or None,
        energy=energy or None,
        num_bytes=int(megabytes * 10**6) or None,
        density=density if method in SPARSE else None,
        seed=seed if method == "dare" else None,
        dtype=None if dtype == AUTO else getattr(torch, dtype),
    )


def _path(name: str) -> Path:
    """Return the file of a merge of this name, among the host's LoRAs."""
    text = name.strip()
    if not text or text in (".", "..") or any(mark in text for mark in '/\\:*?"<>|\0'):
        raise OutputError(
            "name", said("{name!r:.60} names no file", name=name), expected="a name without folders", remedy="Change it"
        )
    roots = folder_paths.get_folder_paths("loras")
    if not roots:
        remedy = "Make one, or name one in extra_model_paths.yaml"
        raise OutputError("loras", "ComfyUI has no such folder", remedy=remedy)
    return Path(roots[0]) / FOLDER / f"{text}.safetensors"


def _check_replaceable(file: Path) -> None:
    """Raise where a file is there that no merge has written."""
    from ..lora_core.files.containers.opening import open_tensor_file

    if file.exists() and "merged_from" not in open_tensor_file(file).metadata:
        raise OutputError(file, "is there already, and is no merge", remedy="Choose another name, or remove the file")


def _base_of(model: WanModelHandle) -> ReadBaseOf | None:
    """Return what reads the base of a model whose files are known; nothing is opened before it is needed."""
    from ..lora_core.merging.bases import base_of_files

    return None if model.sources is None else base_of_files(model.sources.high, model.sources.low)


def _listed(file: Path) -> str:
    """Return a file as the host's lists of LoRAs have it."""
    return os.path.join(FOLDER, file.name)


def _stack_of(files: Iterable[Path], name: str) -> LoraStack:
    """Return the stack of the merged LoRA: one row, of both files where there are two."""
    first, *second = (_listed(file) for file in files)
    return LoraStack().add(first, low_noise=second[0] if second else None, name=name.strip(), find_twin=False)
