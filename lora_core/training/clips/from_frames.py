"""Clips made of frames in memory: a folder of lossless videos with their captions, as the trainer reads any other.

Letters: N frames of all clips together, T frames of one, H W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...atomic import replacing_folder
from ...checks import counted, typed
from ...errors import DatasetError
from ...media.video import check_frames, save_video


@typed(DatasetError)
def write_clips(frames: np.ndarray, captions: Sequence[str], folder: str | Path, fps: float) -> Path:
    """Write frames (N, H, W, 3) uint8 as equally long clips, one for each caption, and return their folder.

    It lies in `folder` and is called by what is in it, so that other frames or captions make another one, and the same
    are not written twice. A clip of one frame is a picture.

    Args:
        frames: the clips one behind the other.
        captions: one for each clip; with none all frames are one clip that nothing is said of.
        folder: where the new folder comes to.
        fps: frames per second.

    Raises:
        DatasetError: the frames cannot be shared out evenly.
        OutputError: it cannot be written; then nothing is.
    """
    check_frames(frames, Path("frames"))
    num_clips = max(1, len(captions))
    if len(frames) % num_clips:
        what = f"{counted(len(frames), 'frame')} cannot be shared out evenly to {counted(num_clips, 'caption')}"
        remedy = "Give as many captions as there are clips, a line each"
        raise DatasetError("frames", what, expected="equally long clips", remedy=remedy)
    path = Path(folder) / f"clips-{_digest(frames, captions, fps)}"
    if path.is_dir():
        return path
    with replacing_folder(path, lambda: None) as temporary:
        temporary.mkdir()
        for index, clip in enumerate(np.split(frames, num_clips)):
            stem = temporary / f"clip-{index + 1:04}"
            if len(clip) == 1:
                Image.fromarray(clip[0]).save(stem.with_suffix(".png"))
            else:
                save_video(clip, stem.with_suffix(".mkv"), fps)
            if captions:
                stem.with_suffix(".txt").write_text(f"{captions[index]}\n", encoding="utf-8")
    return path


def _digest(frames: np.ndarray, captions: Sequence[str], fps: float) -> str:
    told = hashlib.sha256(repr((frames.shape, list(captions), fps)).encode())
    told.update(np.ascontiguousarray(frames).data)
    return told.hexdigest()[:12]
