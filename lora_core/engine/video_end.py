"""The end of a video as pictures that a request can hold: by file and place, read when they are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DatasetError, RequestError
from ..wording import said

if TYPE_CHECKING:
    from PIL import Image

#: How many last frames are read at once: NVIDIA's models go on from five.
_NUM_READ = 8
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class FrameOf:
    """One of the last frames of a video.

    Attributes:
        path: the file.
        index: counted from its end, -1 for the last.
    """

    path: Path
    index: int

    def picture(self) -> Image.Image:
        """Return the frame as a picture in RGB.

        Raises:
            RequestError: the file cannot be read, or has not so many.
        """
        from PIL import Image

        frames = _read_end(self.path, max(_NUM_READ, -self.index))
        if len(frames) < -self.index:
            what = said("has no {count} frames from its end", count=-self.index)
            raise RequestError(self.path, what, remedy="Give the video of that run")
        return Image.fromarray(frames[self.index])


def last_frames(path: str | Path, count: int) -> tuple[Path | FrameOf, ...]:
    """Return the last frames of a video, an animated picture or a folder of pictures; a picture is one frame.

    Raises:
        RequestError: there is no such file, it cannot be read, or has fewer frames.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise RequestError(path, "there is no such picture or video", remedy="Check the path")
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)
        _check_count(path, len(files), count)
        return tuple(files[-count:])
    num_frames = len(_read_end(path, max(_NUM_READ, count)))
    _check_count(path, num_frames, count)
    if num_frames == 1 and path.suffix.lower() in _PICTURES:
        return (path,)
    return tuple(FrameOf(path, index) for index in range(-count, 0))


def _check_count(path: Path, num_frames: int, count: int) -> None:
    if num_frames >= count:
        return
    if num_frames == 0:
        raise RequestError(path, "holds no pictures", expected=", ".join(_PICTURES), remedy="Choose a folder of frames")
    if num_frames == 1:
        what = said("is one picture, and {count} frames to go on from are asked for", count=count)
        raise RequestError(path, what, expected="a video", remedy="Give a video, or go on from 1 frame")
    what = said("has {have} frames, and {count} to go on from are asked for", have=num_frames, count=count)
    raise RequestError(path, what, remedy="Give a longer video, or go on from 1 frame")


def _read_end(path: Path, count: int) -> np.ndarray:
    """Return up to so many last frames (T, H, W, 3) uint8."""
    try:
        stat = path.stat()
        return _frames(path, count, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        what = said("cannot be opened: {error}", error=error.strerror or error)
        raise RequestError(path, what, remedy="Check the path") from error
    except DatasetError as error:  # it is no clip of a training here
        raise RequestError(error.where, error.what, expected=error.expected, remedy=error.remedy) from error


@lru_cache(maxsize=2)
def _frames(path: Path, count: int, changed: int, size: int) -> np.ndarray:
    from ..training.clips.frames import read_last_frames

    return read_last_frames(path, count)
