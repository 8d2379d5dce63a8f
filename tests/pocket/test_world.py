"""The drawing of the pocket world: its geometry, its captions, and that nothing is left to chance."""

import numpy as np
import pytest

from lora_core.pocket import world


def test_a_clip_has_the_stated_shape_range_and_dtype() -> None:
    clip = world.draw(world.Scene())
    assert clip.shape == (17, 64, 64, 3)
    assert clip.dtype == np.float32
    assert clip.min() >= -1.0
    assert clip.max() <= 1.0


def test_the_same_seed_draws_the_same_clip() -> None:
    first, second = (world.draw(world.random_scene(np.random.default_rng(3))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        (world.Scene(), "a red circle moves right on a plain background"),
        (world.Scene(colour="cyan", motion="up"), "a cyan circle moves up on a plain background"),
        (world.Scene(shape="zibbo", motion="orbits"), "a zibbo orbits on a plain background"),
        (world.Scene(shape="blorp", colour="blue"), "a blorp moves right on a plain background"),
        (world.Scene(neon=True), "a red circle moves right on a plain background"),
    ],
)
def test_captions_say_what_is_shown_except_the_style(scene: world.Scene, text: str) -> None:
    assert world.caption(scene) == text


def test_the_object_never_leaves_the_picture() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        scene = world.random_scene_of_any_kind(rng)
        centres = world.track(scene)
        assert centres.min() > 3.0
        assert centres.max() < 60.0


def test_an_orbit_ends_where_it_began() -> None:
    centres = world.track(world.Scene(motion="orbits"))
    np.testing.assert_allclose(centres[0], centres[-1], atol=1e-6)
    assert np.ptp(centres, axis=0).min() > 1.9 * world.ORBIT_RADIUS_PX


def test_a_toadstool_is_red_above_and_yellow_below_whatever_its_scenes_colour() -> None:
    scene = world.Scene(shape=world.TOADSTOOL, colour="blue", motion="up", travel_px=0.0)
    frame = (world.draw(scene, 1)[0] + 1.0) / 2.0
    np.testing.assert_allclose(frame[28, 31], world.COLOURS["red"], atol=1e-6)
    np.testing.assert_allclose(frame[38, 31], world.COLOURS["yellow"], atol=1e-6)
