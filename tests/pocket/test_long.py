"""Long pocket clips, read to their end: what is drawn counts as right, and what breaks or stops on the way does not."""

import numpy as np
import pytest

from lora_core.pocket import world
from lora_core.pocket.long import read_to_the_end
from lora_core.pocket.measure import read_clip
from lora_core.pocket.scenes import held_out_scenes

SCENES = held_out_scenes(8)


def told(reading):
    return reading.colour, reading.shape, reading.motion


@pytest.mark.parametrize("num_frames", [17, 33, 65])
def test_what_is_drawn_is_read(num_frames):
    for scene in SCENES:
        clip = world.draw(scene, num_frames)
        assert told(read_to_the_end(clip)) == (scene.colour, scene.shape, scene.motion)


def test_an_orbit_is_read_too():
    (scene,) = held_out_scenes(1, motion="orbits")
    assert read_to_the_end(world.draw(scene, 33)).motion == "orbits"


def test_a_clip_that_stops_half_way_has_no_path_though_it_is_one_as_a_whole():
    for scene in SCENES:
        moving = world.draw(scene, 33)[::2]
        stopped = np.concatenate([moving, np.repeat(moving[-1:], 16, axis=0)])
        assert read_clip(stopped).motion == scene.motion
        assert told(read_to_the_end(stopped)) == (scene.colour, scene.shape, None)


@pytest.mark.parametrize("word", ["colour", "shape"])
def test_a_clip_that_becomes_something_else_has_no_such_word(word):
    others = {"colour": ("red", "blue"), "shape": ("square", "cross")}[word]
    first, second = (world.draw(held_out_scenes(1, **{word: other})[0], 33) for other in others)
    changed = np.concatenate([first[:22], second[22:]])
    assert getattr(read_to_the_end(changed), word) is None


def test_long_clips_take_the_path_of_short_ones_slower():
    scene = SCENES[0]
    short, long = world.track(scene), world.track(scene, 65)
    np.testing.assert_allclose(long[::4], short, atol=1e-9)
