"""A file of a clips folder: what it shows, what is said of it, and why it may not be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Probe:
    """What a video or picture is, seen as it is shown: turned as its camera was held.

    Attributes:
        num_frames: frames in it, counted; 1 for a picture.
        fps: frames per second, the mean over its time stamps; 0 for a picture.
        seconds: how long it plays; 0 for a picture.
        width, height: in pixels, upright.
        fingerprint: sha256 of the file's bytes.
        num_blank: frames that are of one colour all over.
        brightest: the highest level of red, green or blue in any frame, 0 to 255.
        change: by how much of the 255 levels any place of any frame differs from the first frame.
        longest_gap: the longest time that one frame is shown, in seconds; the last one aside.
        pixel_aspect: width of a pixel over its height, upright.
    """

    num_frames: int
    fps: float
    seconds: float
    width: int
    height: int
    fingerprint: str
    num_blank: int = 0
    brightest: int = 255
    change: int = 255
    longest_gap: float = 0.0
    pixel_aspect: float = 1.0

    @property
    def is_picture(self) -> bool:
        return self.fps == 0

    @property
    def shown_width(self) -> int:
        """How wide it is once its pixels are square, its height kept."""
        return max(1, round(self.width * self.pixel_aspect))


@dataclass(frozen=True)
class Clip:
    """One usable file with its captions, the trigger not yet in front.

    Attributes:
        name: the file's path inside the clips folder, with forward slashes.
        held_out: what the metadata's `split` says of it; None where nothing does.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    probe: Probe
    held_out: bool | None = None


@dataclass(frozen=True)
class Finding:
    """What the doctor says of one file; `problem` is "" where there is nothing to say.

    A file may be used and have a problem all the same, such as a caption that was recovered from another encoding.

    Attributes:
        clip: what is used; None of a file that is left out.
        probe: what the file is, where it could be read.
        captions: what is said of it, used or not.
        kinds: the kinds of its faults, as `fault.KINDS` has them.
    """

    name: str
    use: bool
    problem: str = ""
    remedies: tuple[str, ...] = ()
    clip: Clip | None = None
    probe: Probe | None = None
    captions: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """What to do, in one line."""
        return "; ".join(self.remedies)
