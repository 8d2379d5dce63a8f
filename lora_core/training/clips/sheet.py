"""The contact sheet of clips: what a training really sees, decoded back from the latents, or the files themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...checks import first_few
from ...families.base import ModelSpec
from ...families.opened import OpenedModel
from ...media.contact_sheet import contact_sheet
from ...progress import Progress
from ...wording import said
from .cached import CachedClip, ClipCache, read_example
from .diagnosis import Diagnosis
from .encode import to_frames
from .prepare import plan_takes

#: How many clips a sheet shows, and how large a frame of one is.
MAX_ROWS, _CELL = 24, 128
_CAPTION_LENGTH = 48


def save_sheet(cache: ClipCache, model: OpenedModel, path: Path, progress: Progress) -> str:
    """Draw the first window of every clip as it is cached, save the sheet as PNG, and say what it does not show."""
    sources = list({clip.source: clip for clip in reversed(cache.clips)}.values())[::-1]
    shown = [sources[index] for index in _spread(len(sources))]
    rows = []
    for clip in shown:
        rows.append(_decoded(clip, model))
        progress(len(rows), len(shown), said("decode for the sheet"))
    model.release()
    labels = [_label(clip.source, clip.captions, clip.num_frames, clip.held_out) for clip in shown]
    return _drawn(rows, labels, path, len(sources), "as they are trained on")


def save_sheet_of_files(diagnosis: Diagnosis, spec: ModelSpec, path: Path) -> str:
    """Draw the first window of every usable clip, sized and cut for a model, and say what the sheet does not show."""
    takes = plan_takes(diagnosis.clips, diagnosis.settings, spec)
    first = list({take.clip.name: take for take in reversed(takes)}.values())[::-1]
    shown = [first[index] for index in _spread(len(first))]
    background = diagnosis.settings.background
    rows = [_shrunk(take.variants[0].cut(take.frames(background), take.bucket)) for take in shown]
    labels = [
        _label(take.clip.name, take.clip.captions, take.window.num_frames, bool(take.clip.held_out)) for take in shown
    ]
    return _drawn(rows, labels, path, len(first), "as they are cut for training")


def _drawn(rows: Sequence[np.ndarray], labels: Sequence[str], path: Path, num_clips: int, how: str) -> str:
    """Draw a sheet, and return what it does not show."""
    title = f"{len(rows)} of {num_clips} clips" if len(rows) < num_clips else f"{num_clips} clips"
    contact_sheet(rows, labels, path, title=f"{title}, {how}", cell=_CELL)
    return (
        said("the sheet shows {count} of {all} clips", count=len(rows), all=num_clips) if len(rows) < num_clips else ""
    )


def _spread(num_clips: int) -> list[int]:
    """Choose as many clips as a sheet has room for, evenly from the first to the last."""
    return np.rint(np.linspace(0, num_clips - 1, min(MAX_ROWS, num_clips))).astype(int).tolist()


def _decoded(clip: CachedClip, model: OpenedModel) -> np.ndarray:
    """Return the frames (T, H, W, 3) of a cached clip."""
    latents = read_example(clip).latents[None].to(model.device)
    return _shrunk(to_frames(model.vae_decode(model.denormalise(latents))))


def _shrunk(frames: np.ndarray) -> np.ndarray:
    """Return frames (T, H, W, 3) no larger than the sheet shows them."""
    factor = _CELL / frames.shape[1]
    if factor >= 1:
        return frames
    size = (max(1, round(frames.shape[2] * factor)), _CELL)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames])


def _label(name: str, captions: Sequence[str], num_frames: int, held_out: bool) -> str:
    caption = str(first_few(captions, 1))
    caption = caption if len(caption) <= _CAPTION_LENGTH else f"{caption[: _CAPTION_LENGTH - 1]}…"
    kind = f"{num_frames} frames, {'held out' if held_out else 'trained on'}"
    return "\n".join(" ".join(line.split()) for line in (name, caption, kind))
