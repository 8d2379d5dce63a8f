"""Clips in, clips and contact sheets out: everything that turns frames into files and back.

Letters: T frames, H W pixels. Frames are uint8 arrays (T, H, W, 3), RGB, everywhere in this project.
Every file is written beside its destination under a temporary name and moved there when it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageSequence, UnidentifiedImageError

from .errors import OutputError, RequestError

#: Wan's own frame rate.
WAN_FPS = 16.0
_FRAME_NAME = "frame_{:05d}.png"


# ---------------------------------------------------------------- clips out


def save_video(frames: np.ndarray, path: str | Path, fps: float = WAN_FPS, *, scale: int = 1) -> Path:
    """Write `frames` (T, H, W, 3) uint8 to an .mp4, .gif or .webp, or as PNG frames to a path without extension.

    Args:
        frames: the clip.
        path: where to; missing folders are made, an existing file (or folder of such frames) is replaced.
        fps: frames per second.
        scale: enlarge every pixel to a square of this side first, for clips too small to look at.

    Raises:
        OutputError: an extension this cannot write, a folder it may not write to, a full disk.
    """
    path = Path(path)
    write = _writer(path)
    _check_frames(frames, path)
    if fps <= 0:
        raise OutputError(path, f"cannot play {fps} frames per second", expected="more than 0")
    with _atomic(path) as temporary:
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


def _write_gif(frames: np.ndarray, path: Path, fps: float) -> None:
    # One palette of the clip's own 256 colours: a palette per frame flickers.
    palette = "split[a][b];[a]palettegen=stats_mode=full[p];[b][p]paletteuse=dither=sierra2_4a:diff_mode=rectangle"
    _encode(frames, path, fps, f"-filter_complex {palette} -loop 0")


def _write_webp(frames: np.ndarray, path: Path, fps: float) -> None:
    first, *rest = (Image.fromarray(frame) for frame in frames)
    ticks = np.rint(np.arange(len(frames) + 1) * 1000 / fps).astype(int)  # milliseconds that do not drift
    first.save(path, save_all=True, append_images=rest, duration=np.diff(ticks).tolist(), loop=0, quality=90)


def _write_frames(frames: np.ndarray, path: Path, fps: float) -> None:
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / _FRAME_NAME.format(index))


#: extension -> writer(frames, path, fps); a path without an extension is a folder of PNG frames.
_WRITERS: dict[str, Callable[[np.ndarray, Path, float], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
    "": _write_frames,
}


def _writer(path: Path) -> Callable[[np.ndarray, Path, float], None]:
    if path.suffix.lower() not in _WRITERS or not path.name:
        known = [suffix for suffix in _WRITERS if suffix]
        near = get_close_matches(path.suffix.lower(), known, n=1)
        hint = f"nearest: {near[0]}" if near else f"known: {', '.join(known)}, or none for a folder of PNG frames"
        raise OutputError(path, f"cannot write a video as {path.suffix!r}", expected=hint, remedy="Change the name")
    return _WRITERS[path.suffix.lower()]


def check_output(path: str | Path) -> None:
    """Raise what `save_video` would raise for this path, before any work is done for it."""
    path = Path(path)
    _writer(path)
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(path, f"{folder} is a file", expected="a folder to write into", remedy="Choose another path")
    if not os.access(folder, os.W_OK):
        raise OutputError(path, f"may not write into {folder}", remedy="Choose a folder you may write to")
    _refuse_foreign_target(path)


def _check_frames(frames: np.ndarray, path: Path) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        found = f"cannot write frames of shape {frames.shape} and type {frames.dtype}"
        raise OutputError(path, found, expected="(T, H, W, 3) of uint8, none of them 0")


def _encode(frames: np.ndarray, path: Path, fps: float, options: str) -> None:
    num_rows, num_columns = frames.shape[1:3]
    source = f"-y -f rawvideo -pix_fmt rgb24 -s {num_columns}x{num_rows} -r {fps} -i -"
    _ffmpeg([*source.split(), "-an", *options.split(), str(path)], frames.data.cast("B"))


def _ffmpeg(arguments: list[str], data: memoryview | None = None) -> tuple[bytes, str]:
    """Run imageio's ffmpeg and return what it wrote to stdout and stderr; an OSError in its words when it fails."""
    from imageio_ffmpeg import get_ffmpeg_exe

    done = subprocess.run([get_ffmpeg_exe(), "-hide_banner", *arguments], input=data, capture_output=True, check=False)
    words = done.stderr.decode(errors="replace")
    if done.returncode:
        raise OSError(next((line for line in reversed(words.splitlines()) if line.strip()), "ffmpeg gave no reason"))
    return done.stdout, words


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of `path` to write, move it there on success, remove it on any failure."""
    scratch: str | None = None
    try:
        _refuse_foreign_target(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
        temporary = Path(scratch) / path.name
        yield temporary
        if path.is_dir():
            os.replace(path, Path(scratch) / "replaced")
        os.replace(temporary, path)
    except OSError as error:
        what = f"could not be written: {error.strerror or error}"
        raise OutputError(path, what, remedy="Free the disk or choose another place") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _refuse_foreign_target(path: Path) -> None:
    """Refuse to put a file in a folder's place, or frames in the place of anything but earlier frames."""
    if path.suffix or not path.exists():
        found = "a folder has this name" if path.is_dir() else ""
    elif path.is_dir():
        foreign = next((p.name for p in path.iterdir() if not _is_frame(p)), "")
        found = foreign and f"the folder holds {foreign!r}"
    else:
        found = "a file has this name"
    if found:
        raise OutputError(path, found, expected="a new name, or an earlier result of its kind", remedy="Choose another")


def _is_frame(path: Path) -> bool:
    return path.suffix == ".png" and path.stem.startswith("frame_")


# ---------------------------------------------------------------- clips in


def read_video(path: str | Path) -> tuple[np.ndarray, float]:
    """Read all frames (T, H, W, 3) uint8 of a video, animated picture, picture or folder of pictures, and its fps.

    A file that does not say its rate, and a folder, count as Wan's 16 frames per second.
    """
    path = Path(path)
    if not path.exists():
        raise RequestError(path, "there is no such video", remedy="Check the path")
    if path.is_dir():
        return _read_folder(path), WAN_FPS
    return _read_animation(path) if path.suffix.lower() in _PICTURES else _read_stream(path)


_PICTURES = {".gif", ".webp", ".png", ".jpg", ".jpeg", ".bmp", ".apng"}


def _read_folder(path: Path) -> np.ndarray:
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES)
    if not files:
        raise RequestError(path, "holds no pictures", expected=", ".join(sorted(_PICTURES)))
    frames = [np.asarray(read_image(file)) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape:
            what = f"is {frame.shape[1]}x{frame.shape[0]}"
            raise RequestError(file, what, expected=f"{frames[0].shape[1]}x{frames[0].shape[0]} like {files[0].name}")
    return np.stack(frames)


def _read_animation(path: Path) -> tuple[np.ndarray, float]:
    frames: list[np.ndarray] = []
    durations: list[float] = []
    with _open_image(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info.get("duration", 0.0))
    # A writer may store equal neighbours once, with the sum of their durations: give each its time back.
    unit = min((d for d in durations if d > 0), default=1000 / WAN_FPS)
    repeats = [max(1, round(d / unit)) for d in durations]
    total = sum(durations) or unit * len(frames)
    return np.repeat(np.stack(frames), repeats, axis=0), 1000 * sum(repeats) / total


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


#: How ffmpeg announces the frames it hands over, after turning a video the way its camera was held.
_RAW_STREAM = re.compile(r"Video: rawvideo .*?, (\d+)x(\d+)[ ,].*? ([\d.]+) fps")


def read_image(path: str | Path) -> Image.Image:
    """Read one picture as RGB, turned the way its camera held it; transparency becomes black."""
    from PIL import ImageOps

    with _open_image(Path(path)) as picture:
        try:
            return ImageOps.exif_transpose(picture).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise RequestError(path, f"is a damaged picture: {error}", remedy="Save it again") from error


def _open_image(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise RequestError(path, "is not a picture", expected="PNG, JPEG, WebP or the like") from error
    except OSError as error:
        raise RequestError(path, f"cannot be opened: {error.strerror or error}", remedy="Check the path") from error


# ---------------------------------------------------------------- contact sheets

_PAPER, _INK, _GREY = (250, 250, 248), (24, 24, 27), (120, 120, 128)
_GAP, _MARGIN = 6, 20


def contact_sheet(
    rows: Sequence[np.ndarray],
    labels: Sequence[str],
    path: str | Path,
    *,
    title: str = "",
    num_columns: int = 6,
    cell: int = 128,
) -> Path:
    """Draw one row per clip, its frames evenly chosen from first to last, and save the picture as PNG.

    Args:
        rows: clips (T, H, W, 3) uint8; lengths and sizes may differ.
        labels: one per row; what follows a line break is set smaller and grey.
        path: the .png to write.
        title: a heading above the rows.
        num_columns: how many frames of each clip.
        cell: the height of a frame on the sheet, in pixels; small frames are enlarged without smoothing.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(path, f"cannot write a contact sheet as {path.suffix!r}", expected=".png")
    if not rows or len(rows) != len(labels):
        raise OutputError(path, f"has {len(labels)} labels for {len(rows)} clips", expected="one label per clip")
    for frames in rows:
        _check_frames(frames, path)
    sheet = _draw_sheet(rows, labels, title, num_columns, cell)
    with _atomic(path) as temporary:
        sheet.save(temporary)
    return path


def _draw_sheet(
    rows: Sequence[np.ndarray], labels: Sequence[str], title: str, num_columns: int, cell: int
) -> Image.Image:
    cell_width = max(round(cell * frames.shape[2] / frames.shape[1]) for frames in rows)
    left = 2 * _MARGIN + max(_label_width(label) for label in labels)
    top = _MARGIN + (40 if title else 0) + 22
    width = left + num_columns * (cell_width + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, top + len(rows) * (cell + _GAP) - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(22))
    same_length = len({len(frames) for frames in rows}) == 1
    for column, index in enumerate(_spread(len(rows[0]), num_columns) if same_length else []):
        centre = left + column * (cell_width + _GAP) + cell_width // 2
        draw.text((centre, top - 6), f"frame {index}", _GREY, ImageFont.load_default(13), anchor="ms")
    for row, (frames, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + row * (cell + _GAP)
        _draw_label(draw, label, y + cell // 2)
        for column, index in enumerate(_spread(len(frames), num_columns)):
            sheet.paste(_fit(frames[index], cell_width, cell), (left + column * (cell_width + _GAP), y))
    return sheet


def _label_lines(label: str) -> Iterator[tuple[str, int, tuple[int, int, int]]]:
    """Yield text, size and colour of each line: the first large, the others small and grey."""
    first, *rest = label.split("\n")
    yield first, 17, _INK
    yield from ((line, 13, _GREY) for line in rest)


def _label_width(label: str) -> int:
    return max(ceil(ImageFont.load_default(size).getlength(text)) for text, size, _ in _label_lines(label))


def _draw_label(draw: ImageDraw.ImageDraw, label: str, middle: int) -> None:
    y = middle - sum(size + 5 for _, size, _ in _label_lines(label)) / 2
    for text, size, colour in _label_lines(label):
        draw.text((_MARGIN, y), text, colour, ImageFont.load_default(size))
        y += size + 5


def _spread(num_frames: int, num_columns: int) -> list[int]:
    """Choose `num_columns` indices evenly from the first to the last of `num_frames`."""
    return np.rint(np.linspace(0, num_frames - 1, num_columns)).astype(int).tolist()


def _fit(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """Scale a frame (H, W, 3) to fit the box, centred on paper; enlarge in hard pixels, shrink smoothly."""
    factor = min(height / frame.shape[0], width / frame.shape[1])
    size = (max(1, round(frame.shape[1] * factor)), max(1, round(frame.shape[0] * factor)))
    scaled = Image.fromarray(frame).resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS)
    box = Image.new("RGB", (width, height), _PAPER)
    box.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return box
