"""Sample clips: a small folder of captioned moving shapes, of any length, to try a training with."""

from pathlib import Path

import numpy as np

from ..atomic import replacing_folder
from ..checks import whole_number
from ..errors import RequestError
from ..media.video import save_video
from ..progress import Progress, unheard
from ..training.clips.new_folder import check_new_folder
from ..wording import said
from . import world
from .clips import FPS, SCALE

#: The VAE packs so many frames into one; a clip has one more than a multiple of them.
_STRIDE = 4
_MOST_CLIPS, _MOST_FRAMES = 10_000, 1001


def draw_samples(
    folder: str | Path, num_clips: int, num_frames: int, *, seed: int = 0, progress: Progress = unheard
) -> Path:
    """Draw clips with their captions into a new folder, all or none; the same seed draws the same ones.

    Args:
        folder: where to, new or empty.
        num_clips: how many; shapes, directions and backgrounds take turns, so that few clips already show all of them.
        num_frames: of each, 4k+1.
        seed: what is not said in a caption follows from it: sizes, places, speeds, phases.
        progress: told how many are drawn.

    Raises:
        RequestError: a number out of range, a length that is not 4k+1.
        OutputError: the folder holds something, or cannot be written.
    """
    folder = Path(folder)
    whole_number(num_clips, "clips", RequestError, low=1, high=_MOST_CLIPS)
    whole_number(seed, "seed", RequestError, low=0, high=2**63 - 1)
    check_length(num_frames)
    check_new_folder(folder)
    rng = np.random.default_rng(seed)
    with replacing_folder(folder, lambda: check_new_folder(folder)) as temporary:
        temporary.mkdir()
        for place in range(num_clips):
            scene = world.random_scene(rng, **words_of(place))
            frames = ((world.draw(scene, num_frames) + 1.0) * 127.5).round().astype(np.uint8)
            name = f"{place:04}-{scene.colour}-{scene.shape}-{scene.motion}"
            save_video(frames, temporary / f"{name}.mp4", FPS, scale=SCALE)
            (temporary / f"{name}.txt").write_text(world.caption(scene) + "\n", encoding="utf-8")
            progress(place + 1, num_clips, said("clips drawn"))
    return folder


def check_length(num_frames: int) -> None:
    """Raise unless a clip can have so many frames."""
    whole_number(num_frames, "frames", RequestError, low=_STRIDE + 1, high=_MOST_FRAMES)
    below = (num_frames - 1) // _STRIDE * _STRIDE + 1
    if num_frames != below:
        what = said("{count} is not {stride} k + 1", count=num_frames, stride=_STRIDE)
        expected = said("nearest: {below} or {above}", below=below, above=below + _STRIDE)
        raise RequestError("frames", what, expected=expected, remedy="Choose one of them")


def words_of(place: int) -> dict[str, str]:
    """Return the words of a scene, all kinds in turns: of 16 in a row none are the same."""
    turns = {
        "colour": tuple(world.COLOURS),
        "shape": world.SHAPES,
        "motion": tuple(world.DIRECTIONS),
        "background": world.BACKGROUNDS,
    }
    return {
        name: words[(place + place // len(words) * turn) % len(words)]
        for turn, (name, words) in enumerate(turns.items())
    }
