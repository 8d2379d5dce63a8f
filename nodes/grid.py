"""The node that makes clips over one or two axes and shows them side by side."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from comfy.sd import CLIP, VAE
from comfy_api.latest import io

from ..lora_core.wording import Said, joined, said
from .base import Node, schema, shown
from .folders import fingerprint
from .run_settings import planned_otherwise, run_settings
from .sockets import WanModelHandle, WanModelType
from .widgets import boundary_widget, denoise_widget, guidance_widgets, parse_boundary, schedule_widgets, seed_widgets

_KINDS = (
    "KIND is strength, file, schedule or targets of a LoRA of the stack, by its name, on both experts or on high_noise "
    "or low_noise alone; without, which leaves a LoRA out by its name; or seed, steps, cfg, shift, solver, prompt, "
    "negative_prompt"
)


class LoraGrid(Node):
    """Make clips that differ along one or two axes, and show them side by side, all playing together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="LoRA Grid",
            search_aliases=["xy plot", "xyz plot", "compare loras", "strength grid", "checkpoint grid", "ab test"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model with its LoRAs, routed or not."),
                io.Conditioning.Input("positive", tooltip="What the clips should show."),
                io.Latent.Input("latent", tooltip="An empty latent video, the same for every cell."),
                io.Vae.Input("vae", tooltip="Decodes the clips; the VAE of the model's family."),
                io.String.Input(
                    "columns",
                    default="seed = 0 | 1 | 2",
                    tooltip=f"What differs from column to column: KIND [LORA] [EXPERT] = VALUE | VALUE. {_KINDS}. "
                    "For example: strength zibbo low_noise = 0 | 0.5 | 1.",
                ),
                io.String.Input("rows", default="", tooltip="The same from row to row; empty for one row of clips."),
                *seed_widgets(),
                *schedule_widgets(),
                *guidance_widgets(),
                boundary_widget("'auto' is what LoraRouteByNoise says, else the family's own."),
                denoise_widget("every cell starts"),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What they should not show; needed where a cfg is not 1."
                ),
                io.Clip.Input("clip", optional=True, tooltip="Reads the prompts; needed where an axis is of prompts."),
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet", tooltip="All clips side by side, with their labels."),
                io.Image.Output(
                    "images", display_name="images", tooltip="The frames of the clips, one clip after another."
                ),
                io.Latent.Output(
                    "latents", display_name="latents", tooltip="The clips as one batch, row by row of the sheet."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="What was sampled and shared, and what each clip measures."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, boundary: str | None = None, columns: str | None = None, rows: str | None = None
    ) -> bool | str:
        return cls.checked(lambda: (parse_boundary(boundary), _check_axes(columns, rows)))

    @classmethod
    def fingerprint_inputs(cls, columns: str | None = None, rows: str | None = None, **_: object) -> object:
        from ..lora_core.grids.lora_files import LoraFile
        from .grid_cells import read_axis

        axes = [axis for text in (columns, rows) if text is not None and (axis := read_axis(text)) is not None]
        files = [value for axis in axes for value in axis.values if isinstance(value, LoraFile)]
        return fingerprint(path for file in files for path in (file.path, file.low_noise_path))

    @classmethod
    def execute(
        cls,
        model: WanModelHandle,
        positive: Any,
        latent: dict[str, Any],
        vae: VAE,
        columns: str,
        rows: str,
        seed: int,
        steps: int,
        shift: float,
        cfg_high: float,
        cfg_low: float,
        solver: str,
        boundary: str,
        denoise: float,
        negative: Any = None,
        clip: CLIP | None = None,
    ) -> io.NodeOutput:
        from ..lora_core import GenerationRequest
        from .grid_cells import GridRun, decoded, plan_host_cells, sample_cells

        settings = run_settings(model, boundary, steps, shift)
        given = {field.name: getattr(settings, field.name) for field in fields(settings)} | {"cfg": (cfg_high, cfg_low)}
        request = GenerationRequest(prompt="", seed=seed, solver=solver, **given)
        run = GridRun(model, positive, negative, latent, denoise, clip)
        grid = _grid(request, model, columns, rows)
        planned = plan_host_cells(run, grid)
        latents = sample_cells(run, planned)
        clips = [decoded(one, vae) for one in latents]
        sheet, report = _shown(grid, model, clips, planned)
        report = joined("\n", [report, *planned_otherwise(model, settings)])
        out = {**latent, "samples": torch.cat(latents)}
        return io.NodeOutput(sheet, torch.cat(clips), out, report, ui=shown(report))


def _check_axes(columns: str | None, rows: str | None) -> None:
    """Check what needs no model; None is what comes from another node."""
    from ..lora_core.errors import RequestError, located
    from .grid_cells import read_axis

    for name, text in (("columns", columns), ("rows", rows)):
        if text is not None:
            with located(name):
                axis = read_axis(text)
            if axis is None and name == "columns":
                expected = "seed = 1 | 2 | 3"
                raise RequestError(
                    name, "there is none", expected=expected, remedy="Say what differs between the columns"
                )


def _grid(request: Any, model: WanModelHandle, columns: str, rows: str) -> Any:
    """Return the grid that the widgets describe."""
    from ..lora_core.grids.grid import Grid
    from ..lora_core.grids.planned import USUAL_LIMIT, check_limit
    from .grid_cells import read_axis

    _check_axes(columns, rows)
    across = read_axis(columns)
    assert across is not None, "it was checked"
    grid = Grid(request, model.loaded.stack, across, read_axis(rows))
    check_limit(grid, USUAL_LIMIT, remedy=said("Choose fewer values"))
    return grid


def _shown(
    grid: Any, model: WanModelHandle, clips: list[torch.Tensor], planned: list[Any]
) -> tuple[torch.Tensor, Said]:
    """Return the sheet as an IMAGE, and what is said of the cells."""
    from ..lora_core.grids.measured import measures_of
    from ..lora_core.grids.planned import cost_of
    from ..lora_core.grids.titles import titles_of
    from ..lora_core.media.mosaic import mosaic_frames
    from .grid_cells import levels_of

    levels = [levels_of(clip) for clip in clips]
    lines = [cost_of(planned).text()]
    for one, frames in zip(planned, levels, strict=True):
        found = measures_of(frames, levels[0])
        told = said(
            "{cell}: motion {motion}, similarity to the first {similarity}, drift {drift}",
            cell=one.cell.title,
            motion=f"{found.get('motion', 0):.3f}",
            similarity=f"{found.get('similarity', 0):.3f}",
            drift=f"{found.get('drift', 0):.1f}",
        )
        lines.append(told)
    num_columns = grid.shape[1]
    sheet = mosaic_frames(
        lambda row, column: levels[row * num_columns + column],
        titles_of(grid, model.spec.title),
        levels[0].shape[1:3],
        max(map(len, levels)),
    )
    return torch.from_numpy(sheet).float().div(255), joined("\n", lines)
