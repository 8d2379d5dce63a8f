"""Clips of the pocket world as files with captions beside them: what its models are trained on, as anybody's are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..atomic import write_text
from ..media.video import save_video
from ..progress import Progress, unheard
from . import world

FPS = 16
SCALE = 2
"""How much larger than themselves clips are written: H.264 keeps colours at half the size."""


def draw_clips(
    scenes: Mapping[str, world.Scene], folder: Path, progress: Progress = unheard, num_frames: int = world.NUM_FRAMES
) -> None:
    """Write what a folder lacks of some clips: name -> scene, as `name.mp4` with its caption in `name.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, scene) in enumerate(scenes.items(), 1):
        if not (folder / f"{name}.txt").exists():
            frames = ((world.draw(scene, num_frames) + 1.0) * 127.5).round().astype(np.uint8)
            save_video(frames, folder / f"{name}.mp4", FPS, scale=SCALE)
            write_text(world.caption(scene) + "\n", folder / f"{name}.txt")
        progress(number, len(scenes), f"drawing {folder.name}")


def numbered(scenes: list[world.Scene]) -> dict[str, world.Scene]:
    """Name scenes by their place and what they show."""
    return {f"{place:04d}-{scene.colour}-{scene.shape}-{scene.motion}": scene for place, scene in enumerate(scenes)}
