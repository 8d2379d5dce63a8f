"""Clips in, clips out: everything that turns frames into files and back.

Letters: T frames, H W pixels. Frames are uint8 arrays (T, H, W, 3), RGB, everywhere in this project.
Every file is written beside its destination under a temporary name and moved there when it is whole.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ..atomic import check_target, replacing
from ..checks import nearest, typed
from ..errors import OutputError, RequestError
from .frames import check_folder, replacing_frames, write_frames
from .picture import open_image, read_image
from .rate import DEFAULT_FPS, check_fps

# ---------------------------------------------------------------- clips out


@typed(OutputError)
def save_video(frames: np.ndarray, path: str | Path, fps: float = DEFAULT_FPS, *, scale: int = 1) -> Path:
    """Write `frames` (T, H, W, 3) uint8 to an .mp4, .mkv, .gif or .webp, or as PNG frames to a path without extension.

    An .mkv holds every pixel as it is; the others hold fewer colours or none but what the eye misses.

    Args:
        frames: the clip.
        path: where to; missing folders are made, an existing file is replaced, and so is a folder that holds nothing
            but frames written here before.
        fps: frames per second.
        scale: enlarge every pixel to a square of this side first, for clips too small to look at.

    Raises:
        OutputError: an extension this cannot write, a folder it may not write to, a full disk.
    """
    path = Path(path)
    write = _writer(path)
    check_frames(frames, path)
    fps = check_fps(fps, path, OutputError)
    with _appearing(path) as temporary:
        write(np.ascontiguousarray(enlarge(frames, scale)), temporary, fps)
    return path


def enlarge(frames: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel `scale` times along H and W of (..., H, W, 3)."""
    return frames if scale == 1 else frames.repeat(scale, axis=-3).repeat(scale, axis=-2)


def _write_mp4(frames: np.ndarray, path: Path, fps: float) -> None:
    # yuv420p halves the chroma, so both sides must be even; the matrix is named, or players guess by the height.
    num_rows, num_columns = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, num_rows % 2), (0, num_columns % 2), (0, 0)), mode="edge")
    colours = "-color_primaries bt709 -color_trc bt709 -colorspace bt709"
    coding = "-c:v libx264 -preset medium -crf 16 -pix_fmt yuv420p -movflags +faststart"
    _encode(frames, path, fps, f"-vf scale=out_color_matrix=bt709:out_range=tv {colours} {coding}")


def _write_mkv(frames: np.ndarray, path: Path, fps: float) -> None:
    _encode(frames, path, fps, "-c:v ffv1 -level 3 -g 1 -pix_fmt bgr0")  # every pixel as it is


def _write_gif(frames: np.ndarray, path: Path, fps: float) -> None:
    # One palette of the clip's own 256 colours: a palette per frame flickers.
    palette = "split[a][b];[a]palettegen=stats_mode=full[p];[b][p]paletteuse=dither=sierra2_4a:diff_mode=rectangle"
    _encode(frames, path, fps, f"-filter_complex {palette} -loop 0")


def _write_webp(frames: np.ndarray, path: Path, fps: float) -> None:
    first, *rest = (Image.fromarray(frame) for frame in frames)
    ticks = np.rint(np.arange(len(frames) + 1) * 1000 / fps).astype(int)  # milliseconds that do not drift
    first.save(path, save_all=True, append_images=rest, duration=np.diff(ticks).tolist(), loop=0, quality=90)


#: extension -> writer(frames, path, fps); a path without an extension is a folder of PNG frames.
_WRITERS: dict[str, Callable[[np.ndarray, Path, float], None]] = {
    ".mp4": _write_mp4,
    ".mkv": _write_mkv,
    ".gif": _write_gif,
    ".webp": _write_webp,
    "": write_frames,
}


def _writer(path: Path) -> Callable[[np.ndarray, Path, float], None]:
    if path.suffix.lower() not in _WRITERS or not path.name:
        expected = f"{nearest(path.suffix, filter(None, _WRITERS))}, or no extension for a folder of PNG frames"
        raise OutputError(path, f"cannot write a video as {path.suffix!r}", expected=expected, remedy="Change the name")
    return _WRITERS[path.suffix.lower()]


def check_output(path: str | Path) -> None:
    """Raise what `save_video` would raise for this path, before any work is done for it."""
    path = Path(path)
    _writer(path)
    if path.suffix:
        check_target(path)
    else:
        check_folder(path)


def check_frames(frames: np.ndarray, path: Path) -> None:
    """Raise unless `frames` are (T, H, W, 3) uint8 with nothing missing."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        found = f"cannot write frames of shape {frames.shape} and type {frames.dtype}"
        raise OutputError(path, found, expected="(T, H, W, 3) of uint8, none of them 0", remedy="Convert them first")


def _encode(frames: np.ndarray, path: Path, fps: float, options: str) -> None:
    num_rows, num_columns = frames.shape[1:3]
    source = f"-v error -y -f rawvideo -pix_fmt rgb24 -s {num_columns}x{num_rows} -r {fps} -i -"
    _ffmpeg([*source.split(), "-an", *options.split(), str(path)], frames.data.cast("B"))


def _ffmpeg(arguments: list[str], data: memoryview | None = None) -> tuple[bytes, str]:
    """Run imageio's ffmpeg and return what it wrote to stdout and stderr; an OSError in its words when it fails."""
    from imageio_ffmpeg import get_ffmpeg_exe

    done = subprocess.run([get_ffmpeg_exe(), "-hide_banner", *arguments], input=data, capture_output=True, check=False)
    words = done.stderr.decode(errors="replace")
    if done.returncode:
        reason = (words.strip() or "ffmpeg gave no reason").splitlines()[-1]
        raise OSError(re.sub(r"^\[.*?] ", "", reason).rstrip("."))
    return done.stdout, words


def _appearing(path: Path) -> AbstractContextManager[Path]:
    """Give a temporary path to write to, which takes the place of `path` when the block ends well."""
    return replacing(path) if path.suffix else replacing_frames(path)


# ---------------------------------------------------------------- clips in


@typed(RequestError)
def read_video(path: str | Path) -> tuple[np.ndarray, float]:
    """Read all frames (T, H, W, 3) uint8 of a video, animated picture, picture or folder of pictures, and its fps.

    A file that does not say its rate, and a folder, count as 16 frames per second.
    """
    path = Path(path)
    if not path.exists():
        raise RequestError(path, "there is no such video", remedy="Check the path")
    if path.is_dir():
        return _read_folder(path), DEFAULT_FPS
    return _read_animation(path) if path.suffix.lower() in _PICTURES else _read_stream(path)


_PICTURES = {".gif", ".webp", ".png", ".jpg", ".jpeg", ".bmp", ".apng"}


def _read_folder(path: Path) -> np.ndarray:
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES)
    if not files:
        raise RequestError(
            path, "holds no pictures", expected=", ".join(sorted(_PICTURES)), remedy="Choose a folder of pictures"
        )
    frames = [np.asarray(read_image(file)) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape:
            what = f"is {frame.shape[1]}x{frame.shape[0]}"
            raise RequestError(
                file,
                what,
                expected=f"{frames[0].shape[1]}x{frames[0].shape[0]} like {files[0].name}",
                remedy="Make them all of one size",
            )
    return np.stack(frames)


def _read_animation(path: Path) -> tuple[np.ndarray, float]:
    frames: list[np.ndarray] = []
    durations: list[float] = []
    with open_image(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info.get("duration", 0.0))
    # A writer may store equal neighbours once, with the sum of their durations: give each its time back.
    unit = min((d for d in durations if d > 0), default=1000 / DEFAULT_FPS)
    repeats = [max(1, round(d / unit)) for d in durations]
    total = sum(durations) or unit * len(frames)
    return np.repeat(np.stack(frames), repeats, axis=0), 1000 * sum(repeats) / total


#: How ffmpeg announces the frames it hands over, after turning a video the way its camera was held.
_RAW_STREAM = re.compile(r"Video: rawvideo .*?, (\d+)x(\d+)[ ,].*? ([\d.]+) fps")


def _read_stream(path: Path) -> tuple[np.ndarray, float]:
    try:
        data, words = _ffmpeg(["-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
    except OSError as error:
        raise RequestError(path, f"cannot be read as a video: {error}", remedy="Check that it plays") from error
    described = _RAW_STREAM.search(words)
    if not data or described is None:
        raise RequestError(path, "holds no frames", remedy="Check that it plays")
    num_columns, num_rows, fps = int(described[1]), int(described[2]), float(described[3])
    return np.frombuffer(data, np.uint8).reshape(-1, num_rows, num_columns, 3).copy(), fps
