"""The drawing of `examples/clips/`: a small folder of captioned clips to train a LoRA from.

    python examples/draw_clips.py [FOLDER [ROUNDS]]

Sixteen show a blorp, a toadstool with a red cap and a yellow stem, once on every background in every direction; the
embedded model cannot draw it, and none of its LoRAs can. Eight show what the model knows: without them a LoRA learns
from the sixteen that everything is a blorp. The same pictures come out every time; more rounds draw all of it again,
each with other sizes and places, for what wants more clips than a folder of examples has.

Without a FOLDER also `examples/beginning.mp4`: five frames in which a green cross sets out to the left, for a model to
go on from. The clips end where a motion ends, and what should go on behind that leaves the frame.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

from lora_core.media.video import save_video
from lora_core.pocket import clips, world

SEED = 40
BEGINNING = world.Scene(colour="green", shape="cross", motion="left", background="striped")


def scenes(number: int = 1) -> dict[str, world.Scene]:
    """Return the names of the clips of a round, counted from 1 -> what they show."""
    rng = np.random.default_rng(SEED + number - 1)
    mixtures = itertools.product(world.BACKGROUNDS, world.DIRECTIONS)
    blorps = [world.random_scene(rng, shape=world.TOADSTOOL, background=ground, motion=way) for ground, way in mixtures]
    ordinary = [world.random_scene(rng, shape=shape) for shape in world.SHAPES * 2]
    named = {f"{scene.shape}-{scene.background}-{scene.motion}": scene for scene in blorps}
    named |= {f"{scene.colour}-{scene.shape}-{scene.background}-{scene.motion}": scene for scene in ordinary}
    return {f"{name}{'' if number == 1 else f'-{number}'}": scene for name, scene in named.items()}


def draw_clips(folder: Path, num_rounds: int = 1) -> None:
    """Write every clip as an MP4, its caption beside it under the same name."""
    clips.draw_clips(dict(pair for number in range(num_rounds) for pair in scenes(number + 1).items()), folder)


def draw_beginning(file: Path) -> None:
    """Write the first five frames of a motion as an MP4."""
    frames = ((world.draw(BEGINNING)[:5] + 1.0) * 127.5).round().astype(np.uint8)
    save_video(frames, file, clips.FPS, scale=clips.SCALE)


if __name__ == "__main__":
    chosen = sys.argv[1:]
    if not chosen:
        draw_beginning(Path(__file__).parent / "beginning.mp4")
    draw_clips(Path(chosen[0]) if chosen else Path(__file__).parent / "clips", *map(int, chosen[1:2]))
