"""Which LoRA spoils it: the clip of a stack, and the same clip without each of its LoRAs, measured.

Letters: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.hashes import hashes_of
from ..checks import typed
from ..comparison.folder import write_json
from ..engine.checked import check_request
from ..engine.generate import generate
from ..engine.record import asked_rows
from ..engine.request import GenerationRequest
from ..errors import RequestError
from ..families.opened import OpenedModel
from ..media.measures import measured, similarity
from ..media.video import read_video, save_video
from ..progress import Progress, unheard
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from .ablation_folder import AblationFolder, Cell, cells_of
from .ablation_report import AblationReport, write_report

#: Small clips are enlarged to about this height.
_HEIGHT_PX = 256


class _StoppedError(Exception):
    """Somebody has asked for an end."""


@dataclass(frozen=True)
class Ablation:
    """What leaving each LoRA out has shown.

    Attributes:
        report: what is known so far.
        is_over: whether nothing is left to do.
    """

    folder: AblationFolder
    report: AblationReport
    is_over: bool


@typed(RequestError)
def ablate(
    model: OpenedModel,
    request: GenerationRequest,
    stack: LoraStack | LoadedStack,
    out: str | Path,
    *,
    allow_partial: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Ablation:
    """Make the clip of a stack and the clips without each of its LoRAs, all from the same noise, and compare them.

    Into the folder go the clips, a labelled sheet, a table as CSV and a record as JSON. A clip that is there already is
    not made again.

    Args:
        model: an opened model; it is read once.
        request: what to make.
        stack: the LoRAs; rows that are off are no part of it.
        out: the folder.
        allow_partial: let files through in which some tensors match nothing, of a stack that is not loaded yet.
        progress: told how many clips are made.
        should_stop: asked behind every step; an end leaves the clips that are done.

    Raises:
        LoraCoreError: something cannot be, which is said before a network runs; the folder holds another ablation.
    """
    loaded = stack if isinstance(stack, LoadedStack) else load_stack(stack, model.spec, allow_partial=allow_partial)
    if not loaded.loras:
        raise RequestError(
            "stack", "no LoRA of it is on", expected="one LoRA or more", remedy="Add one, or turn one on"
        )
    work = _Work(model, request, loaded, AblationFolder(Path(out).absolute()))
    checked = check_request(model, request, loaded)
    asked = asked_rows(model, request, checked.clip, loaded, hashes_of(model.files))
    cells = cells_of(lora.name for lora in loaded.loras)
    with work.folder.locked():
        work.folder.begin(asked)
        is_over = work.fill(cells, progress or unheard, should_stop)
        return Ablation(work.folder, write_report(work.folder, cells, asked), is_over)


@dataclass(frozen=True, eq=False)
class _Work:
    """An ablation at work."""

    model: OpenedModel
    request: GenerationRequest
    loaded: LoadedStack
    folder: AblationFolder

    def fill(self, cells: tuple[Cell, ...], progress: Progress, should_stop: Callable[[], bool]) -> bool:
        """Make the clips that are missing; return whether all are there."""

        def stop_if_asked(*_: object) -> None:
            if should_stop():
                raise _StoppedError

        try:
            for done, cell in enumerate(cells):
                progress(done, len(cells), "clips")
                if not self.folder.is_done(cell):
                    self._make(cell, cells[0], stop_if_asked)
        except _StoppedError:
            return False
        progress(len(cells), len(cells), "clips")
        return True

    def _make(self, cell: Cell, whole: Cell, stop_if_asked: Callable[..., None]) -> None:
        """Make one clip, and write what is read from it last, by which it is known to be done."""
        loaded = self.loaded if cell.left_out is None else self.loaded.without(cell.left_out)
        video = generate(self.model, self.request, loaded, callback=stop_if_asked)
        if cell == whole:
            save_video(video.frames, self.folder.reference, video.fps)
        reference = video.frames if cell == whole else read_video(self.folder.reference)[0]
        scale = max(1, _HEIGHT_PX // video.frames.shape[1])
        save_video(video.frames, self.folder.clip(cell), video.fps, scale=scale)
        told = {"left_out": cell.left_out, "seconds": video.seconds, "notes": [str(note) for note in video.notes]}
        write_json({**told, "read": readings(video.frames, reference)}, self.folder.readings(cell))


def readings(frames: np.ndarray, reference: np.ndarray) -> Mapping[str, Any]:
    """Return what is read from a clip (T, H, W, 3) uint8, and how much it is like the one of the whole stack."""
    return measured(frames) | {"similarity": similarity(frames, reference)}
