"""A video file as FFmpeg opens it: its container, a decoder for its stream, and how its frames are to be shown."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

#: Colour matrices of ISO/IEC 23091-2 -> what PyAV calls them; 2 is for those that are not named.
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "SMPTE170M", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
#: From how many rows on a video that names no colour matrix has that of HD, as players guess.
_HD_ROWS = 720
_FULL_RANGE = 2

#: Decoders that know the transparency of a WebM; the usual ones drop it.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def opened(path: Path) -> InputContainer:
    """Open a video file, and of what it may refer to nothing but files."""
    import av

    # With its whole path no name is taken for an address; bytes that are no text occur in the wild, in titles.
    return av.open(str(path.absolute()), metadata_errors="replace", options={"protocol_whitelist": "file"})


def is_of_pictures(container: InputContainer) -> bool:
    """Say whether FFmpeg reads a file as a picture, or takes it for one by its name alone."""
    return container.format.name.endswith("_pipe") or container.format.name == "image2"


class Decoder:
    """A decoder of one stream, of its transparency too where it has some."""

    def __init__(self, stream: VideoStream) -> None:
        import av

        says_alpha = any(key.lower() == "alpha_mode" and value == "1" for key, value in stream.metadata.items())
        name = _ALPHA_DECODERS.get(stream.codec_context.name) if says_alpha else None
        self._own: Any = av.CodecContext.create(name, "r") if name in av.codecs_available else None

    def decode(self, packet: Packet) -> list[av.VideoFrame]:
        """Return the frames that are complete with a packet of the stream; its last, empty one gives the rest."""
        import av

        decode = packet.decode if self._own is None else partial(self._own.decode, packet if packet.size else None)
        try:
            frames: list[av.VideoFrame] = decode()
        except av.error.EOFError:  # said by some decoders at the end
            return []
        return frames


def has_alpha(frame: av.VideoFrame) -> bool:
    """Say whether a frame has a place for transparency."""
    return frame.format.has_palette or any(part.is_alpha for part in frame.format.components)


def colours(frame: av.VideoFrame) -> dict[str, Any]:
    """Return what PyAV's `reformat` is to be told so that a frame's colours come out right as RGB.

    Older PyAV looks at neither matrix nor range of a frame, and at what it is told of the source only where the
    destination differs.
    """
    from av.video.reformatter import Colorspace

    if frame.format.is_rgb or frame.format.has_palette or len(frame.format.components) < 3:
        return {}
    usual = "ITU709" if frame.height >= _HD_ROWS else "ITU601"
    matrix = _MATRICES.get(frame.colorspace, usual)
    told = {"src_colorspace": matrix, "dst_colorspace": "ITU601"} if matrix in Colorspace.__members__ else {}
    is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    return {**told, "src_color_range": "JPEG"} if is_full else told


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Return the a, b, c, d of libavutil's display.h: what a step to the right and one down become."""
    found: Any = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return 1, 0, 0, 1
    numbers = np.frombuffer(bytes(found), np.int32)
    return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])


def is_sideways(matrix: tuple[int, int, int, int]) -> bool:
    """Say whether a display matrix makes rows of columns."""
    a, b, _, _ = matrix
    return abs(b) > abs(a)
