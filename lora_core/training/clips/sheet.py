"""The contact sheet of a cache: what a training really sees, decoded back from the latents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...checks import first_few
from ...families.opened import OpenedModel
from ...media.contact_sheet import contact_sheet
from ...progress import Progress
from .cached import CachedClip, ClipCache, read_example
from .encode import to_frames

#: How many clips a sheet shows, and how large a frame of one is.
MAX_ROWS, _CELL = 24, 128
_CAPTION_LENGTH = 48


def save_sheet(cache: ClipCache, model: OpenedModel, path: Path, progress: Progress) -> str:
    """Draw the first window of every clip as it is cached, save the sheet as PNG, and say what it does not show."""
    sources = list({clip.source: clip for clip in reversed(cache.clips)}.values())[::-1]
    shown = _spread(sources)
    rows = []
    for clip in shown:
        rows.append(_decoded(clip, model))
        progress(len(rows), len(shown), "decode for the sheet")
    model.release()
    title = f"{len(shown)} of {len(sources)} clips" if len(shown) < len(sources) else f"{len(sources)} clips"
    contact_sheet(rows, [_label(clip) for clip in shown], path, title=f"{title}, as they are trained on", cell=_CELL)
    return f"the sheet shows {len(shown)} of {len(sources)} clips" if len(shown) < len(sources) else ""


def _spread(clips: Sequence[CachedClip]) -> list[CachedClip]:
    """Choose as many clips as a sheet has room for, evenly from the first to the last."""
    indices = np.rint(np.linspace(0, len(clips) - 1, min(MAX_ROWS, len(clips)))).astype(int)
    return [clips[index] for index in indices]


def _decoded(clip: CachedClip, model: OpenedModel) -> np.ndarray:
    """Return the frames (T, H, W, 3) of a cached clip, no larger than the sheet shows them."""
    latents = read_example(clip).latents[None].to(model.device)
    frames = to_frames(model.vae_decode(model.denormalise(latents)))
    factor = _CELL / frames.shape[1]
    if factor >= 1:
        return frames
    size = (max(1, round(frames.shape[2] * factor)), _CELL)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames])


def _label(clip: CachedClip) -> str:
    caption = first_few(clip.captions, 1)
    caption = caption if len(caption) <= _CAPTION_LENGTH else f"{caption[: _CAPTION_LENGTH - 1]}…"
    kind = f"{clip.num_frames} frames, {'held out' if clip.held_out else 'trained on'}"
    return "\n".join(" ".join(line.split()) for line in (clip.source, caption, kind))
