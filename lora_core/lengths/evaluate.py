"""The evaluation of a model at several lengths: cell by cell, what is done already left as it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..attention.controller import make_controller
from ..attention.dense import DenseRule
from ..attention.settings import RadialSettings, usual_radial
from ..checkpoints.hashes import hashes_of
from ..checks import typed
from ..comparison.folder import read_json, write_json
from ..engine.generate import Video, generate
from ..engine.record import lora_row, picture_sha256
from ..engine.request import GenerationRequest
from ..engine.stopwatch import step_seconds
from ..errors import RequestError
from ..families.opened import OpenedModel
from ..media.measures import measured
from ..media.video import save_video
from ..plan.planning import make_plan
from ..progress import Progress, unheard
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from ..training.environment import environment
from .asked import LengthsAsked
from .cells import Cell, cells_of
from .collect import collect
from .cost import tensor_peak
from .folder import LengthsFolder
from .meaning import is_embedded, read_meaning
from .report import write_report

#: Small clips are enlarged to about this height.
_HEIGHT_PX = 256
#: How many steps the video has whose memory is measured: no more is needed, for all steps take the same.
_MEMORY_STEPS = 2


class _StoppedError(Exception):
    """Somebody has asked for an end."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation has led to.

    Attributes:
        data: all that was found, as in `lengths.json`.
        is_over: whether nothing is left to do.
    """

    folder: LengthsFolder
    data: Mapping[str, Any]
    is_over: bool


@typed(RequestError)
def evaluate_lengths(
    model: OpenedModel,
    asked: LengthsAsked,
    out: str | Path,
    *,
    lora: LoraStack | None = None,
    common: LoraStack | None = None,
    is_radial: bool = True,
    radial: RadialSettings | None = None,
    allow_partial: bool = False,
    progress: Progress = unheard,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluated:
    """Make videos at several lengths, with and without LoRAs, dense and radial; measure them, and write a report.

    A cell, one length in one way, that the folder has already is not made again; a length may be added to those there.

    Args:
        model: an opened model.
        asked: lengths, prompts, and how they are sampled.
        out: the folder of the evaluation.
        lora: what is evaluated; None for the model alone.
        common: LoRAs that act in every cell, such as one for speed.
        is_radial: whether cells with radial attention are made.
        radial: how it is to be at all lengths; None for what is usual for the model and each length.
        allow_partial: let LoRA files through in which some tensors match nothing.
        progress: told how many videos are made.
        should_stop: asked behind every step; an end leaves the cells that are done.

    Raises:
        LoraCoreError: something cannot be, which is said before a network runs; the folder holds another evaluation.
    """
    stacks = _stacks(model, lora, common, allow_partial)
    work = _Work(model, asked, LengthsFolder(Path(out).absolute()), stacks, radial)
    cells = cells_of(asked.frames, has_lora=bool(lora), is_radial=is_radial)
    work.check(cells)
    with work.folder.locked():
        work.folder.begin(work.told())
        is_over = True
        missing = [cell for cell in cells if not work.is_done(cell)]
        try:
            if missing:
                work.warm_up(missing[0])
            for cell in missing:
                work.fill(cell, progress, should_stop)
        except _StoppedError:
            is_over = False
        return Evaluated(work.folder, work.report(), is_over)


def _stacks(
    model: OpenedModel, lora: LoraStack | None, common: LoraStack | None, allow_partial: bool
) -> dict[bool, LoadedStack]:
    """Return the LoRAs that act, loaded: without and with those that are evaluated."""
    base = common or LoraStack()
    rows = {False: base, True: base.joined(lora or LoraStack())}
    return {with_lora: load_stack(stack, model.spec, allow_partial=allow_partial) for with_lora, stack in rows.items()}


@dataclass(frozen=True)
class _Work:
    """An evaluation at work."""

    model: OpenedModel
    asked: LengthsAsked
    folder: LengthsFolder
    stacks: Mapping[bool, LoadedStack]
    radial: RadialSettings | None

    def check(self, cells: Sequence[Cell]) -> None:
        """Raise what any cell would raise, before a network runs."""
        spec = self.model.spec
        for cell in cells:
            request = self.asked.requests(spec, cell.num_frames)[0]
            clip, plan = request.clip(spec), make_plan(self.stacks[cell.variant.with_lora], spec, request)
            if (settings := self._settings(cell, request)) is not None:
                make_controller(spec, clip.latent_shape, plan.num_steps, settings)
        self.model.require(text=True, vae=True, picture=self.asked.image is not None)

    def told(self) -> dict[str, Any]:
        """Return what all cells have in common, by which an evaluation is known again."""
        request = self.asked.requests(self.model.spec, self.asked.frames[0])[0]
        clip = request.clip(self.model.spec)
        image = self.asked.image
        common, whole = ([*map(_row, self.stacks[with_lora].stack)] for with_lora in (False, True))
        return {
            "format": 1,
            "model": self.model.spec.title,
            "files": hashes_of(self.model.files),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "size": [clip.width, clip.height],
            "fps": clip.fps,
            "prompts": list(self.asked.prompts),
            "negative_prompt": self.asked.negative_prompt,
            "image": None if image is None else picture_sha256(image),
            "seed": self.asked.seed,
            "steps": request.num_steps,
            "cfg": list(request.cfg) if isinstance(request.cfg, tuple) else request.cfg,
            "shift": request.shift,
            "radial": None if self.radial is None else asdict(self.radial),
            "usual_frames": self.model.spec.default_clip.num_frames,
            "common": common,
            "lora": whole[len(common) :],
        }

    def is_done(self, cell: Cell) -> bool:
        """Say whether the folder has a cell's readings."""
        return read_json(self.folder.readings(cell.variant.name, cell.num_frames)) is not None

    def warm_up(self, cell: Cell) -> None:
        """Let every network run once, so that no cell is charged with the reading of files."""
        request = replace(self.asked.requests(self.model.spec, cell.num_frames)[0], num_steps=_MEMORY_STEPS)
        self._video(cell, request, None, lambda *_: None)

    def fill(self, cell: Cell, progress: Progress, should_stop: Callable[[], bool]) -> None:
        """Make the videos of a cell, and write what is read from them."""
        requests = self.asked.requests(self.model.spec, cell.num_frames)
        settings = self._settings(cell, requests[0])

        def stop_if_asked(*_: object) -> None:
            if should_stop():
                raise _StoppedError

        what = f"{cell.num_frames} frames, {cell.variant.title}"
        progress(0, len(requests), what)
        memory = self._memory(cell, requests[0], settings, stop_if_asked)
        rows, radial = [], None
        notes: dict[str, None] = {}
        for number, request in enumerate(requests, 1):
            used = time.process_time()
            video = self._video(cell, request, settings, stop_if_asked)
            used = time.process_time() - used
            radial = video.record.get("radial")
            notes |= dict.fromkeys(map(str, video.notes))
            scale = max(1, _HEIGHT_PX // video.frames.shape[1])
            save_video(
                video.frames,
                self.folder.cell(cell.variant.name, cell.num_frames) / f"{number}.mp4",
                video.fps,
                scale=scale,
            )
            rows.append(
                {"prompt": request.prompt, "seed": request.seed, **readings(video.frames, request.prompt, self.model)}
                | {"seconds": video.timings["sampling"] + video.timings["decoding"], "step_seconds": _step(video)}
                | {"processor_seconds": used}
            )
            progress(number, len(requests), what)
        found = {"num_frames": cell.num_frames, "memory_bytes": memory, "radial": radial, "notes": [*notes]}
        write_json(found | {"videos": rows}, self.folder.readings(cell.variant.name, cell.num_frames))

    def _settings(self, cell: Cell, request: GenerationRequest) -> RadialSettings | None:
        """Return how attention is radial in a cell; None where it is dense."""
        if not cell.variant.is_radial:
            return None
        spec = self.model.spec
        return self.radial or usual_radial(spec, request.clip(spec).latent_shape[2])

    def report(self) -> dict[str, Any]:
        """Write what is known so far."""
        data = collect(self.folder, {"environment": environment()})
        write_report(data, self.folder.report, self.folder)
        return data

    def _video(
        self,
        cell: Cell,
        request: GenerationRequest,
        settings: RadialSettings | None,
        callback: Callable[..., None],
    ) -> Video:
        stack = self.stacks[cell.variant.with_lora]
        return generate(self.model, request, stack, radial=settings, callback=callback)

    def _memory(
        self,
        cell: Cell,
        request: GenerationRequest,
        settings: RadialSettings | None,
        callback: Callable[..., None],
    ) -> int:
        """Return what a video takes, by two steps of it."""
        short = replace(request, num_steps=_MEMORY_STEPS)
        if settings is not None:
            settings = replace(settings, dense=DenseRule(0, 0, settings.dense.first_blocks))
        return tensor_peak(lambda: self._video(cell, short, settings, callback), self.model.device)


def readings(frames: np.ndarray, prompt: str, model: OpenedModel) -> dict[str, float]:
    """Return what is read from one video (T, H, W, 3) uint8: measures, and of the embedded model its meaning."""
    return measured(frames) | (read_meaning(frames, prompt) if is_embedded(model) else {})


def _step(video: Video) -> float:
    """Return how long a step takes, the median."""
    return statistics.median(step_seconds(video.timings).values())


def _row(entry: Any) -> dict[str, object]:
    """Return what tells a LoRA of a stack from others: its hashes and how it acts, not where it lies."""
    return {key: value for key, value in lora_row(entry).items() if not key.endswith("path")}
