"""The probe of a video: decoded by FFmpeg to its last frame, each looked at in passing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...wording import joined, said
from .background import Colour, laid_over
from .clip import Probe
from .fault import Fault, UnusableClipError
from .glance import SIDE, Glance, glances, summed_up
from .video_file import Decoder, colours, display_matrix, has_alpha, is_of_pictures, is_sideways, opened

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

#: What counts as the rate of a file that says nothing of it.
_USUAL_RATE = 25.0
#: How much of the stated time may be missing at the end: whole frames, or a share of a long film.
_MISSING_FRAMES, _MISSING_SHARE = 3, 0.02


@dataclass
class _Tally:
    """What is counted while a file is decoded."""

    end: float = 0.0
    num_cut: int = 0
    num_damaged: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    turned: bool = False


def probe_video(path: Path, fingerprint: str, background: Colour) -> Probe:
    """Return what a video is."""
    import av

    tally = _Tally()
    try:
        with opened(path) as container:
            stream = _video_of(container, path)
            seen = sorted(glances(_thumbnails(container, stream, background, tally)), key=_time)
            stated, rate = _stated_seconds(container, stream), float(stream.average_rate or _USUAL_RATE)
            aspect = float(stream.sample_aspect_ratio or 1)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnusableClipError(path, _unreadable(error)) from error
    fault = _fault(seen, tally, stated, rate)
    if fault is not None:
        raise UnusableClipError(path, fault)
    ((width, height),) = tally.sizes
    if tally.turned:
        width, height, aspect = height, width, 1 / aspect
    return summed_up(seen, (width, height), fingerprint, rate=rate, aspect=aspect)


def _time(glance: Glance) -> float:
    return glance.time


def _video_of(container: InputContainer, path: Path) -> VideoStream:
    """Return the stream that is looked at; raise where the file is no video after all."""
    if is_of_pictures(container):
        form = container.format.name.removesuffix("_pipe")
        what = said("is a {form} picture, named {suffix}", form=form.upper(), suffix=path.suffix)
        raise UnusableClipError(path, Fault("mislabelled", what, said("Rename it to .{form}", form=form)))
    if not container.streams.video:
        others = sorted({stream.type for stream in container.streams})
        there = joined(" and ", others) if others else said("an empty shell")
        raise UnusableClipError(path, Fault("no_video", said("holds no video, only {there}", there=there)))
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise UnusableClipError(path, Fault("unreadable", said("is coded in a way that FFmpeg cannot read")))
    return stream


# ---------------------------------------------------------------- frames


def _thumbnails(
    container: InputContainer, stream: VideoStream, background: Colour, tally: _Tally
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (its time stamp in seconds, thumbnail) of each frame, in the order in which they are shown."""
    from av.video.reformatter import VideoReformatter

    small = VideoReformatter()
    step = 1 / float(stream.average_rate or _USUAL_RATE)
    time = -step
    for frame in _decoded(container, stream, tally):
        time = float(frame.pts * stream.time_base) if frame.pts is not None and stream.time_base else time + step
        if not tally.sizes:
            tally.turned = is_sideways(display_matrix(frame))
        tally.sizes.add((frame.width, frame.height))
        tally.num_damaged += frame.is_corrupt
        yield time, _thumbnail(small, frame, background)


def _decoded(container: InputContainer, stream: VideoStream, tally: _Tally) -> Iterator[av.VideoFrame]:
    """Yield all frames; what cannot be decoded is counted."""
    import av

    decoder = Decoder(stream)
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            tally.end = max(tally.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not stream:
            continue
        tally.num_cut += packet.is_corrupt
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            tally.num_damaged += 1
            continue
        yield from frames


def _thumbnail(small: Any, frame: av.VideoFrame, background: Colour) -> np.ndarray:
    form = "rgba" if has_alpha(frame) else "rgb24"
    pixels = small.reformat(frame, SIDE, SIDE, form, interpolation="AREA", **colours(frame)).to_ndarray()
    return laid_over(pixels, background) if has_alpha(frame) else pixels


# ---------------------------------------------------------------- faults


def _stated_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Return how long the file says it is; 0 where it says nothing."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def _fault(seen: Sequence[Glance], tally: _Tally, stated: float, rate: float) -> Fault | None:
    """Return what is wrong with a video that could be opened."""
    missing = stated - tally.end
    if tally.num_cut or missing > max(_MISSING_FRAMES / rate, _MISSING_SHARE * stated):
        there = {"there": f"{tally.end:.2f}", "stated": f"{stated:.2f}"}
        return Fault("cut_short", said("is cut short: {there} of {stated} s are there", **there))
    if not seen:
        return Fault("unreadable", said("holds no frame that can be decoded"))
    if tally.num_damaged:
        what = said("is damaged: {count} of its frames cannot be decoded well", count=tally.num_damaged)
        return Fault("damaged", what)
    if len(tally.sizes) > 1:
        first, second = (f"{width}x{height}" for width, height in sorted(tally.sizes)[:2])
        return Fault(
            "changing_size", said("changes its size on the way, {first} and {second}", first=first, second=second)
        )
    return None


def _unreadable(error: Exception) -> Fault:
    import av

    if isinstance(error, UnusableClipError):
        return error.fault
    if isinstance(error, av.error.InvalidDataError):
        return Fault("unreadable", said("is no video that FFmpeg can read"))
    why = getattr(error, "strerror", None) or str(error)
    return Fault("unreadable", said("cannot be read: {why}", why=why))
