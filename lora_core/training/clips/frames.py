"""The frames of a clip: upright RGB, each the one nearest to a wanted time.

Letters: T frames, H W pixels. Frames are uint8 arrays (H, W, 3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from ...errors import DatasetError
from ...wording import said
from .background import Colour, laid_over, parse_colour
from .picture_file import in_bytes, is_read_as_picture, stamped_frames
from .video_file import Decoder, colours, display_matrix, has_alpha, is_sideways, opened

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

Shape = Callable[[np.ndarray], np.ndarray]
#: From how far before its end a long video is decoded for its last frames.
_SECONDS_OF_END = 3.0


@dataclass(frozen=True, eq=False)
class Still:
    """A frame as it comes: when it is shown, in seconds behind the first, and how its pixels are made when wanted."""

    time: float
    make: Callable[[], np.ndarray]

    @cached_property
    def pixels(self) -> np.ndarray:
        return self.make()


def read_frames(
    path: Path, times: Sequence[float], background: str = "000000", shape: Shape = lambda f: f
) -> np.ndarray:
    """Read the frames (T, H, W, 3) of a video or picture that are nearest to `times`, which ascend.

    Of a video only the stretch from the first time to the last is decoded, and of that no more kept than is asked for.

    Args:
        path: the file.
        times: seconds behind the first frame.
        background: what transparency shows, as red, green, blue in hexadecimal.
        shape: what is done to each frame as soon as it is there, such as making it smaller.
    """
    colour = parse_colour(background)
    stills = _stills_of_picture if is_read_as_picture(path) else _stills_of_video
    with closing(stills(path, times[0], colour)) as found:
        return np.stack(list(_nearest(found, times, shape, path)))


def read_last_frames(path: Path, count: int, background: str = "000000") -> np.ndarray:
    """Read the last frames (T, H, W, 3) of a video or picture, all of them where it has fewer.

    Of a long video that says how long it is only the end is decoded.
    """
    colour = parse_colour(background)
    if is_read_as_picture(path):
        return _last(_stills_of_picture(path, 0, colour), count, path)
    start = _stated_seconds(path) - _SECONDS_OF_END
    if start > 0:
        frames = _last(_stills_of_video(path, start, colour), count, path)
        if len(frames) == count:
            return frames
    return _last(_stills_of_video(path, 0, colour), count, path)


def _last(stills: Generator[Still, None, None], count: int, path: Path) -> np.ndarray:
    with closing(stills) as found:
        last = deque(found, maxlen=count)
    if not last:
        raise DatasetError(path, "holds no frames", remedy="Check that it plays")
    return np.stack([still.pixels for still in last])


def _nearest(stills: Iterable[Still], times: Sequence[float], shape: Shape, path: Path) -> Iterator[np.ndarray]:
    """Yield for each time the nearest frame, the earlier of two equally near, each shaped once."""
    wanted = list(times)
    before: Still | None = None
    for still in stills:
        still = Still(still.time, partial(_shaped, still, shape))
        while wanted and wanted[0] <= still.time:
            time = wanted.pop(0)
            yield (still if before is None or still.time - time < time - before.time - 1e-9 else before).pixels
        if not wanted:
            return
        before = still
    step = times[1] - times[0] if len(times) > 1 else 1.0
    if before is None or wanted[-1] - before.time > step:
        end = "holds no frames" if before is None else said("ends after {time:.2f} s", time=before.time)
        raise DatasetError(
            path, end, expected=said("a frame at {wanted:.2f} s", wanted=wanted[-1]), remedy="Check that it plays"
        )
    for _ in wanted:
        yield before.pixels


def _shaped(still: Still, shape: Shape) -> np.ndarray:
    return shape(still.pixels)


# ---------------------------------------------------------------- pictures


def _stills_of_picture(path: Path, start: float, colour: Colour) -> Generator[Still, None, None]:
    """Yield the frames of a picture, which may move, from the first on."""
    try:
        with Image.open(path) as picture:
            for time, frame in stamped_frames(picture):
                yield Still(time, partial(np.copy, _flattened(frame, colour)))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DatasetError(
            path, said("cannot be read as a picture: {error}", error=error), remedy="Save it again"
        ) from error


def _flattened(picture: Image.Image, colour: Colour) -> np.ndarray:
    """Return a picture as it is shown, upright and before a background."""
    picture = in_bytes(ImageOps.exif_transpose(picture))
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB"))
    return laid_over(np.asarray(picture.convert("RGBA")), colour)


# ---------------------------------------------------------------- videos


def _stills_of_video(path: Path, start: float, colour: Colour) -> Generator[Still, None, None]:
    """Yield the frames of a video from the last key frame before `start` on."""
    import av

    try:
        with opened(path) as container:
            if not container.streams.video:
                raise DatasetError(path, "holds no video", remedy="Check that it plays")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            shape = float(stream.sample_aspect_ratio or 1)
            for time, frame in _stamped(container, stream, start):
                yield Still(time, partial(_upright, frame, shape, colour))
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise DatasetError(
            path, said("cannot be read as a video: {reason}", reason=reason), remedy="Check that it plays"
        ) from error


def _stated_seconds(path: Path) -> float:
    """Return how long a video says it is, 0 where it does not."""
    import av

    try:
        with opened(path) as container:
            return (container.duration or 0) / av.time_base
    except (av.error.FFmpegError, OSError):
        return 0.0  # what is wrong with it, its reading says


def _stamped(container: InputContainer, stream: VideoStream, start: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (seconds behind the first frame, frame), with a jump to a key frame before `start` where one is found."""
    frames = _timed(container, stream)
    first = next(frames, None)
    if first is None:
        return
    begin = first[0]
    if start > 1 and _jumped(container, stream, begin + start):
        found = _timed(container, stream)
        landed = next(found, None)
        if landed is not None and begin <= landed[0] <= begin + start:
            first, frames = landed, found
        else:  # no index, or a wrong one: from the beginning then
            container.seek(0)
            frames = _timed(container, stream)
            first = next(frames)
    yield first[0] - begin, first[1]
    for time, frame in frames:
        yield time - begin, frame


def _jumped(container: InputContainer, stream: VideoStream, time: float) -> bool:
    import av

    try:
        container.seek(int(time / _unit(stream)), stream=stream)
    except (av.error.FFmpegError, OverflowError):
        return False
    return True


def _timed(container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (its time stamp in seconds, frame); one without a stamp follows the one before at the mean rate."""
    step = float(1 / stream.average_rate) if stream.average_rate else 1 / 16
    time = -step
    for frame in _decoded(container, stream):
        time = frame.pts * _unit(stream) if frame.pts is not None else time + step
        yield time, frame


def _unit(stream: VideoStream) -> float:
    """Return how many seconds one tick of its time stamps is."""
    return float(stream.time_base or 1)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    decoder = Decoder(stream)
    for packet in container.demux(stream):
        yield from decoder.decode(packet)


def _upright(frame: av.VideoFrame, shape: float, colour: Colour) -> np.ndarray:
    """Return a frame as it is shown: square pixels, before a background, turned the way its camera was held."""
    pixels = _converted(frame, "rgba" if has_alpha(frame) else "rgb24", round(frame.width * shape))
    if has_alpha(frame):
        pixels = laid_over(pixels, colour)
    return _turned(pixels, display_matrix(frame))


def _converted(frame: av.VideoFrame, form: str, width: int) -> np.ndarray:
    return frame.reformat(width=width, format=form, interpolation="BICUBIC", **colours(frame)).to_ndarray()


def _turned(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror pixels (H, W, 3) by quarters, as a display matrix has it."""
    a, b, c, d = matrix
    across, down = (c, b) if is_sideways(matrix) else (a, d)
    turned = pixels.transpose(1, 0, 2) if is_sideways(matrix) else pixels
    return np.ascontiguousarray(turned[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
