"""Windows, buckets, variants and the split: which frames of which clips, how large, cropped how, and for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import DatasetError, TrainingError
from lora_core.families.registry import spec_named
from lora_core.training.clips.buckets import Bucket, bucket_of, covering_size, sizes_of, upscaling
from lora_core.training.clips.clip import Clip, Probe
from lora_core.training.clips.split import held_out_names
from lora_core.training.clips.variants import CENTRE, Variant, variants_of
from lora_core.training.clips.windows import Window, frames_at, windows_of
from lora_core.training.settings.clips import ClipSettings

POCKET = spec_named("wan-pocket")
T2V, BIG = spec_named("wan2.2-t2v-a14b"), spec_named("wan2.2-ti2v-5b")
PICTURE = Probe(1, 0, 0, 640, 480, "p")


def video(num_frames: int, fps: float = 16, width: int = 64, height: int = 64) -> Probe:
    return Probe(num_frames, fps, num_frames / fps, width, height, f"{num_frames}{fps}{width}{height}")


def firsts(probe: Probe, **settings: object) -> list[int]:
    return [window.first for window in windows_of(probe, ClipSettings(**settings), POCKET)]


# ---------------------------------------------------------------- windows


def test_a_picture_is_one_frame() -> None:
    assert windows_of(PICTURE, ClipSettings(), POCKET) == (Window(0, 1, 0.0),)


def test_the_head_is_used_unless_another_rule_is_asked_for() -> None:
    assert windows_of(video(60), ClipSettings(), POCKET) == (Window(0, 17, 16.0),)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"cut": "middle"}, [21]),
        ({"cut": "uniform"}, [0, 22, 43]),
        ({"cut": "uniform", "num_windows": 1}, [0]),
        ({"cut": "sliding"}, [0, 17, 34]),
    ],
)
def test_long_clips_are_cut_by_the_chosen_rule(rule: Mapping[str, object], expected: list[int]) -> None:
    assert firsts(video(60), **rule) == expected


def test_windows_that_would_be_the_same_are_taken_once() -> None:
    assert firsts(video(18), cut="uniform", num_windows=5) == [0, 1]


def test_a_short_clip_is_left_out_unless_fewer_frames_are_enough() -> None:
    assert firsts(video(16)) == []
    assert windows_of(video(16), ClipSettings(min_frames=5), POCKET) == (Window(0, 13, 16.0),)
    assert firsts(video(4), min_frames=5) == []


@pytest.mark.parametrize(
    ("num_frames", "fps"), [(17, 16), (25, 24), (31, 30), (61, 60), (9, 8), (17, 15.99), (25, 23.976)]
)
def test_a_second_of_film_at_any_rate_is_enough_for_a_second_at_the_models(num_frames: int, fps: float) -> None:
    assert frames_at(video(num_frames, fps), 16) == 17


@given(st.integers(1, 500), st.floats(5, 120), st.sampled_from(["head", "middle", "uniform", "sliding"]))
def test_windows_lie_inside_their_clip_and_have_4k_plus_1_frames(num_frames: int, fps: float, cut: str) -> None:
    probe = video(num_frames, fps)
    for window in windows_of(probe, ClipSettings(cut=cut, min_frames=1), POCKET):
        assert window.num_frames % 4 == 1
        assert window.times[0] >= 0
        assert window.times[-1] <= (num_frames - 1) / fps + 0.26 / 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 16}, r"num_frames: 16 \(4k\+1, such as 13 or 17\)"),
        ({"num_frames": 8001}, r"num_frames: 8001 \(at most 4093 for Wan pocket\)"),
        ({"min_frames": 18}, r"min_frames: 18 is more than a window's 17 frames \(1 to 17, or 0 for all 17\)"),
    ],
)
def test_a_number_of_frames_that_cannot_be_is_an_error(settings: dict[str, int], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        windows_of(video(60), ClipSettings(**settings), POCKET)


# ---------------------------------------------------------------- buckets


@pytest.mark.parametrize(
    ("spec", "width", "height", "expected"),
    [
        (POCKET, 1920, 1080, "80x48, 17 frames"),
        (POCKET, 500, 512, "64x64, 17 frames"),
        (T2V, 1920, 1080, "832x480, 81 frames"),
        (T2V, 1080, 1920, "480x832, 81 frames"),
        (BIG, 1920, 1080, "1280x704, 121 frames"),
    ],
)
def test_a_clip_comes_into_the_bucket_of_the_nearest_aspect(spec, width: int, height: int, expected: str) -> None:
    assert str(bucket_of(video(200, spec.default_clip.fps, width, height), ClipSettings(), spec)) == expected


def test_a_picture_comes_into_a_bucket_of_one_frame() -> None:
    assert bucket_of(PICTURE, ClipSettings(), POCKET) == Bucket(1, 48, 80)


def test_pixels_that_are_not_square_count_for_the_aspect() -> None:
    assert bucket_of(replace(video(17, 16, 64, 64), pixel_aspect=1.6), ClipSettings(), POCKET) == Bucket(17, 48, 80)


def test_clips_of_other_lengths_come_into_other_buckets() -> None:
    assert bucket_of(video(14), ClipSettings(min_frames=5), POCKET) == Bucket(13, 64, 64)


@given(st.sampled_from([POCKET, T2V, BIG]), st.integers(64, 1400))
def test_buckets_are_whole_patches_of_about_the_area_and_come_tall_and_wide(spec, resolution: int) -> None:
    step = spec.vae_stride[1] * spec.patch_size[1]
    sizes = sizes_of(resolution, spec)
    assert {(width, height) for height, width in sizes} == set(sizes)
    for height, width in sizes:
        assert (height % step, width % step) == (0, 0)
        assert max(height, width) <= spec.max_positions * step
        assert 0.6 < height * width / resolution**2 < 1.6 or resolution < 4 * step


def test_buckets_never_pass_what_the_network_can_tell_apart() -> None:
    small = replace(T2V, max_positions=40)
    assert max(map(max, sizes_of(512, small))) <= 640
    with pytest.raises(TrainingError, match=r"resolution: 2000 pixels a side fit no bucket \(16 to 640 for"):
        sizes_of(2000, small)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_what_covers_a_bucket_is_never_smaller_and_exact_on_one_side(width: int, height: int) -> None:
    bucket = Bucket(1, 480, 832)
    rows, columns = covering_size(height, width, bucket)
    assert rows >= 480
    assert columns >= 832
    assert rows == 480 or columns == 832


def test_upscaling_is_told_by_the_side_that_is_enlarged_most() -> None:
    assert upscaling(video(17, 16, 32, 64), Bucket(17, 64, 64)) == 2


# ---------------------------------------------------------------- variants


def test_a_clip_is_cropped_in_the_middle_and_not_mirrored_unless_asked() -> None:
    assert variants_of(video(17), Bucket(17, 64, 64), ClipSettings()) == (CENTRE,)


def test_flip_doubles_every_crop_and_crops_are_drawn_by_the_fingerprint() -> None:
    wide, bucket, settings = video(17, 16, 100, 64), Bucket(17, 64, 64), ClipSettings(flip=True, num_crops=3)
    variants = variants_of(wide, bucket, settings)
    assert len(set(variants)) == 6
    assert [variant.mirrored for variant in variants] == [False] * 3 + [True] * 3
    assert variants == variants_of(wide, bucket, settings)
    assert variants != variants_of(replace(wide, fingerprint="other"), bucket, settings)


def test_a_clip_of_the_buckets_own_aspect_has_no_other_crop() -> None:
    assert variants_of(video(17), Bucket(17, 64, 64), ClipSettings(num_crops=4)) == (CENTRE,)


def test_a_variant_cuts_where_it_says_and_mirrors() -> None:
    frames = np.arange(10, dtype=np.uint8)[None, None, :, None] + np.zeros((2, 4, 1, 3), np.uint8)
    bucket = Bucket(2, 4, 4)
    assert CENTRE.cut(frames, bucket)[0, 0, :, 0].tolist() == [3, 4, 5, 6]
    assert Variant(across=0.0).cut(frames, bucket)[0, 0, :, 0].tolist() == [0, 1, 2, 3]
    assert Variant(across=1.0, mirrored=True).cut(frames, bucket)[0, 0, :, 0].tolist() == [9, 8, 7, 6]


# ---------------------------------------------------------------- split


def clips(num: int, marks: Mapping[int, bool] | None = None) -> list[Clip]:
    return [
        Clip(f"{index}.mp4", Path(f"{index}.mp4"), ("a ball",), video(17), (marks or {}).get(index))
        for index in range(num)
    ]


@pytest.mark.parametrize(
    ("num", "share", "expected"),
    [(20, 0.1, 2), (5, 0.1, 1), (3, 0.1, 0), (3, 0.5, 2), (4, 1.0, 3), (20, 0.0, 0), (1, 1.0, 0)],
)
def test_a_share_is_held_out_at_least_one_of_four_and_never_all(num: int, share: float, expected: int) -> None:
    assert len(held_out_names(clips(num), share)) == expected


def test_the_same_clips_are_held_out_in_whatever_order_they_come() -> None:
    assert held_out_names(clips(20), 0.3) == held_out_names(clips(20)[::-1], 0.3)


def test_the_metadata_decides_where_it_marks_any() -> None:
    assert held_out_names(clips(9, {3: True, 4: False}), 0.5) == {"3.mp4"}
    assert held_out_names(clips(9, {4: False}), 0.5) == frozenset()


def test_nothing_left_to_train_on_is_an_error() -> None:
    with pytest.raises(DatasetError, match=r"split: all 2 usable clips are marked as held out .*Mark some as train\."):
        held_out_names(clips(2, {0: True, 1: True}), 0.1)
