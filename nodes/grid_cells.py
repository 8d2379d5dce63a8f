"""The cells of a grid in the host: each planned, then sampled, what several begin with sampled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import PurePath, PureWindowsPath
from typing import Any

import comfy.model_management
import node_helpers
import torch
from comfy.sd import CLIP, VAE
from torch import Tensor

from ..lora_core import (
    GenerationRequest,
    LoadedStack,
    LoraStack,
    RequestError,
    RunSettings,
    SamplingPlan,
    load_stack,
)
from ..lora_core.engine.shared import key_of
from ..lora_core.errors import located
from ..lora_core.grids.axis import Axis
from ..lora_core.grids.grid import Cell, Grid
from ..lora_core.grids.planned import PlannedCell, check_values, cost_of, guidance_of, in_order, num_steps_left
from ..lora_core.sampling.sample import AtSwitch, spans
from ..lora_core.wording import said
from .folders import lora_folders
from .kept_loras import kept_reader
from .radial_override import radial_of
from .sockets import WanModelHandle
from .walk import Conditioning, Request, walk

#: Axes whose values are prompts, which the node itself has only as conditioning.
_PROMPTS = ("prompt", "negative_prompt")


@dataclass(frozen=True, eq=False)
class GridRun:
    """What all cells of a grid in the host have in common.

    Attributes:
        negative: needed where a step has guidance other than 1.
        clip: reads the prompts of an axis of prompts.
    """

    model: WanModelHandle
    positive: Conditioning
    negative: Conditioning | None
    latent: dict[str, Any]
    denoise: float
    clip: CLIP | None = None

    def load(self, stack: LoraStack) -> LoadedStack:
        """Read a cell's LoRAs, those that are in memory not again."""
        read = kept_reader(self.model.spec, allow_partial=self.model.allow_partial)
        return load_stack(stack, self.model.spec, lora_folders=lora_folders(), read=read)

    def plan(self, request: GenerationRequest, loaded: LoadedStack) -> SamplingPlan:
        """Plan one cell."""
        given = {field.name: getattr(request, field.name) for field in fields(RunSettings)}
        return self.model.with_loras(loaded).plan(RunSettings(**given | {"denoise": self.denoise}))


def read_axis(text: str) -> Axis | None:
    """Return the axis that a widget's text says, its files seen from the LoRA folders; None for none."""
    if not text.strip():
        return None
    head, _, values = text.partition("=")
    if head.split()[:1] == ["file"]:
        for value in values.replace(" + ", "|").split("|"):
            _check_inside(value.strip())
    return Axis.parse(text, next(iter(lora_folders()), None))


def _check_inside(value: str) -> None:
    """Refuse to look for files outside the LoRA folders, whatever their names would say."""
    path = PurePath(PureWindowsPath(value).as_posix())
    if path.is_absolute() or PureWindowsPath(value).drive or ".." in path.parts:
        what = said("{path!r} leaves the LoRA folders", path=value)
        raise RequestError("file", what, expected="a path inside them", remedy="Name a file that is there")


def plan_host_cells(run: GridRun, grid: Grid) -> list[PlannedCell]:
    """Check every cell, in the order of the sheet, before anything is sampled."""
    kinds = {axis.kind for _, axis in grid.axes}
    if kinds & {*_PROMPTS} and run.clip is None:
        raise RequestError("clip", "an axis of prompts needs what reads them", remedy="Connect a CLIP")
    planned = [_planned(run, cell) for cell in grid.cells(run.load)]
    check_values(grid, planned)
    return planned


def _planned(run: GridRun, cell: Cell) -> PlannedCell:
    with located(f"cell {cell.title!r:.80}"):
        loaded = run.load(cell.stack)
        plan = run.plan(cell.request, loaded)
        if plan.guided_steps and run.negative is None and not cell.request.negative_prompt:
            what = said("cfg {cfg:g} without a negative prompt", cfg=plan.guided_steps[0].cfg)
            remedy = "Connect a negative prompt, if only an empty one, or set cfg to 1"
            raise RequestError("LoraGrid", what, remedy=remedy)
    request = cell.request
    asked: dict[str, object] = {"prompt": request.prompt, "seed": request.seed, "solver": request.solver}
    num_spans = len(spans(plan))
    is_shared = num_spans > 1 and plan.steering is None
    return PlannedCell(
        cell=replace(cell, stack=loaded.stack),
        asked=asked,
        begins=key_of(plan, 1, asked, request.negative_prompt) if is_shared else None,
        makes=key_of(plan, num_spans, asked, request.negative_prompt),
        steps=guidance_of(plan),
    )


def sample_cells(run: GridRun, planned: list[PlannedCell]) -> list[Tensor]:
    """Return the latents of all cells, in the order of the sheet."""
    encode = cache(lambda prompt: run.clip.encode_from_tokens_scheduled(run.clip.tokenize(prompt)))  # type: ignore[union-attr]  # checked
    if run.clip is not None:
        for one in planned:  # all prompts first, so that the text encoder is needed once
            _told(run, one, encode)
    num_total, num_done = sum(cost_of(in_order(planned)).shared.values()), 0
    latents: dict[PlannedCell, Tensor] = {}
    stands: dict[str, AtSwitch] = {}
    for one in in_order(planned):
        comfy.model_management.throw_exception_if_processing_interrupted()
        at_switch = stands.get(one.begins or "")

        def keep(at_switch: AtSwitch, key: str | None = one.begins) -> None:
            stands.clear()  # the cells that go on from it come next
            if key is not None:
                stands[key] = at_switch

        walked = _walked(run, one, encode, at_switch, keep, num_done, num_total)
        num_done += sum(num_steps_left(one, is_shared=at_switch is not None).values())
        latents[one] = walked
    return [latents[one] for one in planned]


def _walked(
    run: GridRun,
    one: PlannedCell,
    encode: Callable[[str], Conditioning],
    at_switch: AtSwitch | None,
    keep: Callable[[AtSwitch], None],
    num_done: int,
    num_total: int,
) -> Tensor:
    """Sample one cell."""
    request = one.cell.request
    loaded = run.load(one.cell.stack)
    model, plan = run.model.with_loras(loaded), run.plan(request, loaded)
    positive, negative = _told(run, one, encode)
    asked = Request(
        plan=plan,
        positive=positive,
        negative=negative,
        latent=run.latent,
        seed=request.seed,
        solver=request.solver,
        sigmas=plan.sigmas,
        shift=request.shift,
        radial=radial_of(model, plan.sigmas),
    )
    sampled, _ = walk(model, asked, num_done=num_done, num_total=num_total, at_switch=at_switch, on_switch=keep)
    samples: Tensor = sampled["samples"]
    return samples


def _told(
    run: GridRun, one: PlannedCell, encode: Callable[[str], Conditioning]
) -> tuple[Conditioning, Conditioning | None]:
    """Return the conditioning of a cell: the node's own, with the prompts of its axes in it."""
    request, positive, negative = one.cell.request, run.positive, run.negative
    if request.prompt:
        positive = _with_prompt(positive, encode(request.prompt))
    if request.negative_prompt:
        negative = _with_prompt(negative or positive, encode(request.negative_prompt))
    return positive, negative


def _with_prompt(conditioning: Conditioning, encoded: Conditioning) -> Conditioning:
    """Return conditioning with another text, and all else that was said beside the old one, pictures for example."""
    beside = {key: value for key, value in conditioning[0][1].items() if key not in encoded[0][1]}
    told: Conditioning = node_helpers.conditioning_set_values(encoded, beside)
    return told


def decoded(latent: Tensor, vae: VAE) -> Tensor:
    """Return the frames of the first clip of a latent as an IMAGE (frames, height, width, 3)."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    frames: Tensor = vae.decode(latent[:1]).flatten(0, -4)
    return frames


def levels_of(frames: Tensor) -> Any:
    """Return an IMAGE as an array (frames, height, width, 3) of uint8."""
    return frames.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
