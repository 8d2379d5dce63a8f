"""The measures of videos, on videos whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lora_core.media.looks import subject_of
from lora_core.media.measures import (
    MEASURES,
    background_consistency,
    colour_drift,
    flicker,
    motion,
    repetition,
    similarity,
    subject_consistency,
)
from lora_core.pocket import world

SIDE, HEIGHT, WIDTH = 16, 48, 96
GREY, RED, BLUE = (120, 120, 120), (200, 30, 30), (30, 30, 200)


def clip(
    num_frames: int = 33, *, speed: float = 2.0, colour: tuple[int, int, int] = RED, ground: tuple[int, int, int] = GREY
) -> np.ndarray:
    """Draw a square of 16 pixels that moves to the right over a ground of one colour."""
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), ground, np.uint8)
    for index, frame in enumerate(frames):
        left = 8 + round(speed * index)
        frame[SIDE : 2 * SIDE, left : left + SIDE] = colour
    return frames


def lightened(frames: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Add a number of levels to each frame."""
    return np.clip(frames + levels[:, None, None, None], 0, 255).astype(np.uint8)


def test_a_still_clip_is_consistent_and_nothing_happens_in_it() -> None:
    still = clip(speed=0)
    assert {name: measure.read(still) for name, measure in MEASURES.items()} == {
        "subject": pytest.approx(1.0),
        "background": pytest.approx(1.0),
        "flicker": 0.0,
        "motion": 0.0,
        "drift": 0.0,
        "repetition": None,
    }


def test_a_moving_square_is_the_subject_and_stays_consistent() -> None:
    frames = clip()
    inside = subject_of(frames)
    assert (inside == (frames == RED).all(axis=-1)).all()
    assert subject_consistency(frames) == pytest.approx(1.0)
    assert background_consistency(frames) == pytest.approx(1.0)


@pytest.mark.parametrize("speed", [1, 2])
def test_motion_is_the_share_of_pixels_that_are_taken_and_left(speed: int) -> None:
    assert motion(clip(speed=speed)) == pytest.approx(2 * SIDE * speed / (HEIGHT * WIDTH))


def test_motion_and_flicker_are_not_taken_for_each_other() -> None:
    moving = clip()
    assert flicker(moving) == 0.0
    levels = np.where(np.arange(33) % 2, 5, -5)
    flickering = lightened(clip(speed=0), levels)
    assert flicker(flickering) == pytest.approx(10.0)  # from one frame to the next
    assert motion(flickering) == 0.0
    assert motion(lightened(moving, levels)) == pytest.approx(motion(moving))


def test_a_steady_drift_is_drift_and_no_flicker() -> None:
    drifting = lightened(clip(), np.linspace(0, 32, 33))
    assert colour_drift(drifting) == pytest.approx(32.0)
    assert flicker(drifting) == 0.0
    assert motion(drifting) == pytest.approx(motion(clip()))
    tinted = clip(speed=0)
    tinted[-1, ..., 0] += 30
    assert colour_drift(tinted) == pytest.approx(30 / np.sqrt(3))


def test_a_subject_that_changes_its_colour_or_form_is_inconsistent_and_its_ground_is_not() -> None:
    turns_blue = np.concatenate([clip(17), clip(16, colour=BLUE)])
    assert subject_consistency(turns_blue) == pytest.approx(1 - (16 + 1) / (2 * 32), abs=0.01)
    assert background_consistency(turns_blue) == pytest.approx(1.0)
    becomes_flat = clip()
    for frame in becomes_flat[17:]:
        shape = (frame == RED).all(axis=-1)
        frame[shape] = GREY
        frame[SIDE : SIDE + 6, 4:84] = RED  # a long bar: nearly all its edges lie
    likeness = subject_consistency(becomes_flat)
    assert likeness is not None
    assert 0.7 < likeness < 0.9


def test_a_subject_that_disappears_is_inconsistent() -> None:
    gone = clip()
    gone[17:] = GREY
    assert subject_consistency(gone) == pytest.approx((16 + (15 / 2)) / 32, abs=0.02)
    assert background_consistency(gone) == pytest.approx(1.0, abs=0.01)


def test_a_subject_that_leaves_on_one_side_and_comes_in_on_the_other_is_one_all_the_time() -> None:
    frames = np.stack([np.roll(clip(1)[0], 3 * index, axis=1) for index in range(65)])
    assert (subject_of(frames) == (frames == RED).all(axis=-1)).all()
    assert background_consistency(frames) == pytest.approx(1.0)


def test_a_ground_that_fades_or_passes_by_is_no_subject() -> None:
    slope = np.linspace(60, 160, HEIGHT).astype(np.uint8)[None, :, None, None]
    ground = np.broadcast_to(slope, (33, HEIGHT, WIDTH, 3))
    assert subject_of(lightened(ground, np.linspace(0, 60, 33))).mean() < 0.02
    palette = np.array([(60, 90, 60), (90, 60, 140), (150, 140, 90), (200, 190, 180)], np.uint8)
    tiles = palette[np.random.default_rng(0).integers(0, 4, (HEIGHT // 8, 40))].repeat(8, axis=0).repeat(8, axis=1)
    panned = np.stack([tiles[:, 4 * index : 4 * index + WIDTH] for index in range(33)])
    assert subject_of(panned).mean() < 0.02


def test_a_clip_without_a_subject_has_no_subject_consistency() -> None:
    ground = np.tile(np.linspace(20, 200, WIDTH).astype(np.uint8)[None, None, :, None], (9, HEIGHT, 1, 3))
    assert subject_consistency(ground) is None
    assert background_consistency(ground) == pytest.approx(1.0)


def test_a_ground_that_changes_is_inconsistent_and_its_subject_is_not() -> None:
    striped = clip()
    for frame in striped[17:]:
        rows = np.zeros((HEIGHT, 1), bool)
        rows[::4] = True
        frame[rows & ~(frame == RED).all(axis=-1)] = (90, 140, 90)
    assert background_consistency(striped) < 0.9
    subject = subject_consistency(striped)
    assert subject is not None
    assert subject > 0.9


def test_a_copy_of_the_beginning_is_told_from_a_path_that_leads_on() -> None:
    once = clip(32, speed=2)
    assert repetition(once) == pytest.approx(0.0, abs=0.05)
    twice = np.concatenate([once[:16], once[:16]])
    assert repetition(twice) == pytest.approx(1.0)
    nearly = np.concatenate([once[:16], lightened(once[:16], np.full(16, 2))])
    value = repetition(nearly)
    assert value is not None
    assert 0.5 < value < 1.0


def test_a_clip_that_goes_halfway_back_repeats_in_part() -> None:
    """A square that has gone 20 pixels and comes back to 8 of its beginning's place."""
    there, back = np.arange(0, 11, 1.0), np.arange(9, 3, -1.0)
    places = np.concatenate([there, back, np.full(4, 4.0)])
    frames = np.full((len(places), HEIGHT, WIDTH, 3), GREY, np.uint8)
    for frame, place in zip(frames, places, strict=True):
        left = 8 + int(place)
        frame[SIDE : 2 * SIDE, left : left + SIDE] = RED
    value = repetition(frames)
    assert value is not None
    assert 0.4 < value < 0.8


def test_every_measure_reads_the_shortest_clips() -> None:
    for num_frames in (5, 9):
        for measure in MEASURES.values():
            value = measure.read(clip(num_frames))
            assert value is None or np.isfinite(value)


def test_clips_of_the_pocket_world_are_consistent_in_every_shape_and_on_every_ground() -> None:
    for shape in world.SHAPES:
        for ground in world.BACKGROUNDS:
            drawn = world.draw(world.Scene(shape=shape, background=ground, colour="cyan", motion="up"))
            frames = np.rint((drawn + 1) * 127.5).astype(np.uint8)
            values = {name: measure.read(frames) for name, measure in MEASURES.items()}
            assert values["subject"] > 0.88, (shape, ground)
            assert values["background"] > 0.94, (shape, ground)
            assert values["repetition"] == pytest.approx(0.0, abs=0.05)
            assert values["flicker"] < 0.1


def test_similarity_is_one_for_a_copy_and_falls_with_what_differs() -> None:
    moving, noise = clip(5), np.random.default_rng(0).integers(0, 8, (5, HEIGHT, WIDTH, 3), np.uint8)
    grainy, other = moving + noise, clip(5, speed=9.0)
    assert similarity(moving, moving) == pytest.approx(1.0)
    assert 1 > similarity(moving, grainy) > 0
    assert similarity(moving, other) < 0.95
    assert similarity(moving, 255 - moving) < similarity(moving, other)
    assert similarity(moving, other) == pytest.approx(similarity(other, moving))
