"""Clips that tests film themselves, so small that their frames can be told apart by their grey."""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

import lora_core
from lora_core.pocket.world import Scene, draw
from lora_core.training.clips.clip import Clip, Probe

#: The clips that come along; trainings leave a cache there, so tests take copies.
CLIPS = Path(lora_core.__file__).parents[1] / "examples" / "clips"


def shipped_clips(folder: Path, num: int) -> Path:
    """Copy the first few of the clips that come along, with their captions, into a folder."""
    folder.mkdir(exist_ok=True)
    for clip in sorted(CLIPS.glob("*.mp4"))[:num]:
        for file in (clip, clip.with_suffix(".txt")):
            shutil.copy(file, folder)
    return folder


def greys(num_frames: int, height: int = 64, width: int = 64) -> np.ndarray:
    """Draw frames of one grey each, 4 levels apart from frame to frame, from 20 on."""
    levels = (20 + 4 * np.arange(num_frames)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def moving(num_frames: int = 17, height: int = 64, width: int = 64, *, seed: int = 0) -> np.ndarray:
    """Draw a square that crosses a smooth ground from left to right."""
    colours = np.random.default_rng(seed).integers(40, 216, (2, 3))
    slope = np.linspace(-30, 30, height)[:, None, None]
    frames = np.repeat((colours[0] + slope + np.zeros((1, width, 1)))[None], num_frames, axis=0)
    side = height // 3
    for index, frame in enumerate(frames):
        left = index * (width - side) // max(1, num_frames - 1)
        frame[side : 2 * side, left : left + side] = colours[1]
    return np.clip(frames, 0, 255).astype(np.uint8)


def scene(colour: str, *, shape: str = "circle", motion: str = "right") -> np.ndarray:
    """Draw a clip of the world that the pocket model knows."""
    drawn = draw(Scene(colour=colour, shape=shape, motion=motion))
    return np.rint((drawn + 1) * 127.5).astype(np.uint8)


def film(
    path: Path,
    frames: np.ndarray,
    fps: float = 16,
    *,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    source: str = "rgb24",
) -> Path:
    """Write a video with PyAV; `times` are the seconds at which frames are shown, else they follow at `fps`."""
    quality = {"crf": "10", "preset": "ultrafast"} if codec.startswith("libx26") else {}
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rate, options={**quality, **quiet, **(options or {})})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, pixels_ in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_, format=source)
            if times is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * times[index])
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turned(path: Path, target: Path, turn: str) -> Path:
    """Copy an MP4 and write a display matrix into its track header (ISO/IEC 14496-12, 8.3.2), as cameras do.

    A `turn` is one of the keys of `TURNS`; degrees are anticlockwise.
    """
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in TURNS[turn])
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


#: Turn -> a, b, c, d of a display matrix: what a step to the right and one down become.
TURNS = {
    "0": (1, 0, 0, 1),
    "90": (0, -1, 1, 0),
    "180": (-1, 0, 0, -1),
    "270": (0, 1, -1, 0),
    "hflip": (-1, 0, 0, 1),
    "vflip": (1, 0, 0, -1),
}


def filmed_clip(path: Path, frames: np.ndarray, caption: str, fps: float = 16, *, root: Path | None = None) -> Clip:
    """Film a clip and say of it what the doctor would."""
    film(path, frames, fps)
    probe = Probe(
        num_frames=len(frames),
        fps=fps,
        seconds=len(frames) / fps,
        width=frames.shape[2],
        height=frames.shape[1],
        fingerprint=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return Clip(path.relative_to(root or path.parent).as_posix(), path, (caption,), probe)


def mixed_folder(clips: Path) -> Path:
    """Film two clips with captions, draw a picture, and lay a file beside them that is none."""
    film(clips / "red.mp4", scene("red"))
    film(clips / "more" / "BLUE.MOV", scene("blue"), 32)
    Image.fromarray(moving(1, 80, 60)[0]).save(clips / "still.png")
    for name, caption in (("red", "a red circle"), ("more/BLUE", "sks a blue circle"), ("still", "a square")):
        (clips / f"{name}.txt").write_text(caption)
    (clips / "broken.mp4").write_bytes(b"no film")
    (clips / "broken.txt").write_text("a red cross")
    return clips
