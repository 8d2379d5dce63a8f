"""Real clips for tests: drawn, and written by FFmpeg in every form that people have them in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

#: What a file's name ends in -> how FFmpeg is told to write it.
CODINGS = {
    ".mp4": "-c:v libx264 -pix_fmt yuv420p",
    ".mov": "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
    ".mkv": "-c:v libx264 -pix_fmt yuv420p",
    ".webm": "-c:v libvpx-vp9 -cpu-used 8 -b:v 1M",
    ".avi": "-c:v mpeg4",
    ".gif": "-filter_complex split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none",
}


def moving(num_frames: int = 17, *, width: int = 64, height: int = 64, seed: int = 0) -> np.ndarray:
    """Draw a square that moves over a background (T, H, W, 3) of large patches, another one for each seed."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(40, 200, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    ground = rough.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    frames = np.repeat(ground[None], num_frames, axis=0)
    for index, frame in enumerate(frames):
        left = index * (width - 16) // max(1, num_frames - 1)
        frame[8:24, left : left + 16] = (230, 30, 30)
    return frames


def write_clip(path: Path, frames: np.ndarray | None = None, *, fps: float = 16, coding: str | None = None) -> Path:
    """Write frames as what the path ends in."""
    frames = moving() if frames is None else frames
    height, width = frames.shape[1:3]
    path.parent.mkdir(parents=True, exist_ok=True)
    coding = CODINGS[path.suffix.lower()] if coding is None else coding
    ffmpeg("-f rawvideo -pix_fmt rgb24", f"-s {width}x{height} -r {fps} -i -", coding, path, data=frames.tobytes())
    return path


def write_stamped(path: Path, frames: np.ndarray, times: list[float]) -> Path:
    """Write frames with time stamps of their own, in seconds: a variable rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = round(time * 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def ffmpeg(*options: str | Path, data: bytes | None = None) -> None:
    """Run FFmpeg with options, each a text of several words or a path."""
    words = [word for option in options for word in ([str(option)] if isinstance(option, Path) else option.split())]
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *words], input=data, check=True)


def cut(path: Path, share: float) -> Path:
    """Keep only the first bytes of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
