"""Clips made of frames in memory: a folder of lossless videos with their captions, as the trainer reads any other.

Letters: N frames of all clips together, T frames of one, H W pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...atomic import replacing_folder
from ...errors import DatasetError
from ...media.video import check_frames, save_video
from ...wording import said


@dataclass(frozen=True)
class FramesOfClips:
    """Clips as frames, one behind the other.

    Attributes:
        frames: (N, H, W, 3) uint8.
        captions: one for each clip, which are equally long; with none all frames are one clip that nothing is said of.
        fps: frames per second.
    """

    frames: np.ndarray
    captions: tuple[str, ...]
    fps: float

    def __post_init__(self) -> None:
        check_frames(self.frames, Path("frames"))
        if len(self.frames) % self.num_clips:
            what = said(
                "{frames} frame cannot be shared out evenly to {captions} captions"
                if len(self.frames) == 1
                else "{frames} frames cannot be shared out evenly to {captions} captions",
                frames=len(self.frames),
                captions=self.num_clips,
            )
            remedy = "Give as many captions as there are clips, a line each"
            raise DatasetError("frames", what, expected="equally long clips", remedy=remedy)

    @property
    def num_clips(self) -> int:
        return max(1, len(self.captions))

    def place(self, folder: Path) -> Path:
        """Return the folder in `folder` that they are written to; others, or with other captions, have another one."""
        told = hashlib.sha256(repr((self.frames.shape, self.captions, self.fps)).encode())
        told.update(np.ascontiguousarray(self.frames).data)
        return folder / f"clips-{told.hexdigest()[:12]}"


def write_clips(clips: FramesOfClips, folder: Path) -> Path:
    """Write clips and their captions, all or none, unless they are there; return their place in `folder`.

    A clip of one frame is a picture.

    Raises:
        OutputError: they cannot be written.
    """
    path = clips.place(folder)
    if path.is_dir():
        return path
    with replacing_folder(path, lambda: None) as temporary:
        temporary.mkdir()
        for index, frames in enumerate(np.split(clips.frames, clips.num_clips)):
            stem = temporary / f"clip-{index + 1:04}"
            if len(frames) == 1:
                Image.fromarray(frames[0]).save(stem.with_suffix(".png"))
            else:
                save_video(frames, stem.with_suffix(".mkv"), clips.fps)
            if clips.captions:
                stem.with_suffix(".txt").write_text(f"{clips.captions[index]}\n", encoding="utf-8")
    return path
