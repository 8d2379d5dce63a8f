"""The videos by which a model is judged, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from ..atomic import replacing
from ..engine.generate import Video, generate
from ..engine.previews import Previews, make_previews
from ..media.video import save_video
from ..training.clips.cached import ClipCache
from ..training.settings.watching import WatchingSettings
from .asked import Asked, asked_videos, question
from .config import CompareConfig
from .judged_model import JudgedModel
from .measures import KEPT, SCORES, moved

#: Small clips are enlarged to about this height.
_HEIGHT_PX = 256
_LATENTS = "latents.safetensors"


def read_videos(
    judged: JudgedModel,
    config: CompareConfig,
    cache: ClipCache,
    folder: Path,
    base: Path | None,
    before_each: Callable[[], None],
) -> dict[str, Any]:
    """Make the videos, keep them, and return what is read from them.

    Args:
        judged: whose they are.
        config: says which.
        cache: the clips; videos have the size of the first, and models that begin with a picture begin with theirs.
        folder: where to.
        base: the folder of the base's videos, whose latents are what others have moved from; None for the base itself.
        before_each: called before each video; may raise to stop.
    """
    rows, latents = [], {}
    previews = _previews(judged, config, cache, folder)
    there = {} if base is None else load_file(base / _LATENTS)
    for number, asked in enumerate(asked_videos(config), 1):
        before_each()
        request = replace(previews.request(number, asked.prompt, judged.model), seed=asked.seed)
        video = generate(judged.model, request, judged.stack)
        scale = max(1, _HEIGHT_PX // previews.height)
        save_video(video.frames, folder / f"{asked.name}.mp4", video.fps, scale=scale)
        latents[asked.name] = video.latents.numpy()
        row = {"kind": asked.kind, "prompt": asked.prompt, **dict(_readings(asked, video, config))}
        if base is not None:
            row["moved"] = moved(latents[asked.name], there[asked.name])
        rows.append(row)
    with replacing(folder / _LATENTS) as temporary:
        save_file(latents, temporary)
    return {"question": question(config), "videos": rows}


def _previews(judged: JudgedModel, config: CompareConfig, cache: ClipCache, folder: Path) -> Previews:
    settings = config.settings
    watching = WatchingSettings(
        preview_every=1,
        preview_prompts=tuple(asked.prompt for asked in asked_videos(config)),
        preview_steps=settings.video_steps,
        preview_cfg=settings.video_cfg,
    )
    previews = make_previews(folder, judged.model, watching, cache.trained)
    assert previews is not None  # they were asked for
    return previews


def _readings(asked: Asked, video: Video, config: CompareConfig) -> Iterator[tuple[str, float]]:
    """Yield what is read from one video: the score where it shall show it, what has been kept where it shall not."""
    measure = SCORES[config.settings.score]
    if asked.kind == "learning" and measure is not None:
        read = measure.read(video.frames, asked.prompt)
        if read is not None:
            yield "score", read
    if asked.kind == "drift" and config.is_embedded:
        for name, kept in KEPT.items():
            if (read := kept.read(video.frames, asked.prompt)) is not None:
                yield name, read
