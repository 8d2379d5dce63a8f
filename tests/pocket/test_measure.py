"""The measurements of the pocket world, checked on clips whose contents are known because they were drawn."""

from functools import cache

import numpy as np
import pytest

from lora_core.pocket import measure, world

NUM_CLIPS = 50


@cache
def noisy_clips(num_clips: int = NUM_CLIPS, **words: str | bool) -> list[tuple[world.Scene, measure.Reading]]:
    """Draw scenes with a little noise, as a VAE adds it, and measure them."""
    rng = np.random.default_rng(8)
    scenes = [world.random_scene(rng, **words) for _ in range(num_clips)]
    noise = rng.normal(0.0, 0.04, (num_clips, *world.draw(scenes[0]).shape)).astype(np.float32)
    return [(scene, measure.read_clip(world.draw(scene) + grain)) for scene, grain in zip(scenes, noise, strict=True)]


@pytest.mark.parametrize("neon", [False, True])
def test_what_is_drawn_is_read_back(neon: bool) -> None:
    read = noisy_clips(neon=neon)
    for field in ("colour", "shape", "motion"):
        right = np.mean([getattr(reading, field) == getattr(scene, field) for scene, reading in read])
        assert right >= 0.98, field


@pytest.mark.parametrize("neon", [False, True])
def test_neon_is_told_from_daylight(neon: bool) -> None:
    assert np.mean([(reading.neon > 0.5) == neon for _, reading in noisy_clips(neon=neon)]) >= 0.98


@pytest.mark.parametrize("neon", [False, True])
def test_the_character_is_recognised_in_both_styles(neon: bool) -> None:
    readings = [reading for _, reading in noisy_clips(shape=world.CHARACTER, neon=neon)]
    assert np.mean([reading.zibbo > 0.5 and reading.colour == "purple" for reading in readings]) >= 0.98


def test_no_ordinary_shape_is_taken_for_the_character() -> None:
    assert np.mean([reading.zibbo > 0.1 for _, reading in noisy_clips()]) <= 0.02


def test_the_toadstool_is_recognised() -> None:
    readings = [reading for _, reading in noisy_clips(30, shape=world.TOADSTOOL)]
    assert np.mean([reading.blorp > 0.5 for reading in readings]) >= 0.98


@pytest.mark.parametrize("words", [{}, {"colour": "red"}, {"colour": "red", "neon": True}, {"shape": world.CHARACTER}])
def test_nothing_of_one_colour_is_taken_for_the_toadstool(words: dict[str, str | bool]) -> None:
    assert max(reading.blorp for _, reading in noisy_clips(30, **words)) <= 0.1


def test_the_toadstool_is_not_taken_for_the_character() -> None:
    assert max(reading.zibbo for _, reading in noisy_clips(30, shape=world.TOADSTOOL)) <= 0.1


def test_only_a_round_path_is_an_orbit() -> None:
    assert np.mean([reading.motion == "orbits" for _, reading in noisy_clips(motion="orbits")]) >= 0.98
    assert np.mean([reading.orbit > 0.5 for _, reading in noisy_clips()]) <= 0.02


def test_an_empty_picture_shows_nothing() -> None:
    reading = measure.read_clip(np.zeros((17, 64, 64, 3), np.float32))
    assert (reading.colour, reading.shape, reading.motion, reading.orbit) == (None, None, None, 0.0)


def test_a_clip_that_stands_still_has_no_motion() -> None:
    frame = world.draw(world.Scene())[:1]
    assert measure.read_clip(np.repeat(frame, 17, axis=0)).motion is None
