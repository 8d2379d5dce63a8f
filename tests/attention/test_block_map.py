"""The block map: the published code's where that can run, and right where it cannot."""

import hashlib
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lora_core.attention.block_map import radial_map
from lora_core.attention.geometry import RadialGeometry

geometries = st.builds(
    RadialGeometry,
    num_frames=st.integers(1, 24),
    tokens_per_frame=st.integers(1, 400),
    block_size=st.sampled_from([16, 32, 64, 128]),
    decay=st.sampled_from([0.01, 0.2, 0.8, 1.0, 4.0]),
    sink=st.booleans(),
    num_text_tokens=st.integers(0, 200),
    thin_below=st.sampled_from([16, 64, 128]),
)


def video_of(geometry):
    """Return the map without the text, (F, S, F, S)."""
    count, shape = geometry.num_video_blocks, (geometry.num_frames, geometry.blocks_per_frame)
    return radial_map(geometry).blocks[:count, :count].reshape(*shape, *shape)


@pytest.mark.parametrize(
    ("num_frames", "tokens", "sink", "sparsities"),
    [
        # Wan at 768x1280 with 69, 161 and 321 frames
        (18, 3840, True, {1.0: 0.5691, 0.95: 0.5953, 0.2: 0.7129}),
        (41, 3840, True, {1.0: 0.7361, 0.95: 0.7502, 0.2: 0.8184}),
        (81, 3840, True, {1.0: 0.8313, 0.95: 0.8389, 0.2: 0.8768}),
        # Wan at 512x768 with 81, 161 and 321 frames
        (21, 1536, True, {1.0: 0.5317}),
        (41, 1536, True, {1.0: 0.6788}),
        (81, 1536, True, {1.0: 0.7933}),
        # HunyuanVideo at 768x1280 with 509 frames
        (128, 3840, True, {1.0: 0.8778, 0.95: 0.8828, 0.2: 0.9075}),
        (128, 3840, False, {1.0: 0.8850, 0.95: 0.8900, 0.2: 0.9148}),
    ],
)
def test_the_sparsity_is_that_of_the_published_masks(num_frames, tokens, sink, sparsities):
    for decay, sparsity in sparsities.items():
        block_map = radial_map(RadialGeometry(num_frames, tokens, decay=decay, sink=sink))
        assert round(1 - block_map.density, 4) == sparsity


@pytest.mark.parametrize(
    ("geometry", "num_kept", "digest"),
    [
        (RadialGeometry(12, 1536), 12640, "b20ad08aa38cfccc"),
        (RadialGeometry(12, 256, decay=0.2), 452, "17e3d107fb5f236f"),
        (RadialGeometry(24, 256), 1276, "57a8976161971c05"),
        (RadialGeometry(10, 640, 64, 0.8), 6204, "0a5f5c7d96143b72"),
        (RadialGeometry(10, 1024, decay=0.95, sink=False, num_text_tokens=256), 4792, "3cc685cd6dfd0262"),
        (RadialGeometry(31, 128, decay=4.0), 304, "ea24a0944cdadab5"),
    ],
)
def test_the_map_is_that_of_the_published_code_where_frames_fill_their_blocks(geometry, num_kept, digest):
    """Made by `gen_log_mask_shrinked` of mit-han-lab/radial-attention 72788d4, at 1,320 geometries in all."""
    blocks = radial_map(geometry).blocks
    assert int(blocks.sum()) == num_kept
    assert hashlib.sha256(np.packbits(blocks.numpy()).tobytes()).hexdigest()[:16] == digest


@given(geometries)
def test_no_query_is_without_a_key_and_every_frame_sees_itself(geometry):
    assert radial_map(geometry).blocks.any(1).all()
    video = video_of(geometry)
    for frame in range(geometry.num_frames):
        assert video[frame, :, frame].all()


@given(geometries)
def test_it_is_symmetric_but_for_the_sink(geometry):
    video = video_of(geometry)
    away = video[1:, :, 1:] if geometry.sink else video
    assert torch.equal(away, away.permute(2, 3, 0, 1))


@given(geometries)
def test_all_see_frame_0_where_the_sink_is_on(geometry):
    video = video_of(geometry)
    assert not geometry.sink or video[:, :, 0].all()


@given(geometries)
def test_the_text_sees_all_and_is_seen_by_all(geometry):
    blocks, first = radial_map(geometry).blocks, geometry.num_video_blocks
    assert blocks.shape == (geometry.num_blocks, geometry.num_blocks)
    assert blocks[first:].all()
    assert blocks[:, first:].all()


@given(geometries.filter(lambda geometry: geometry.num_frames > 1))
def test_a_smaller_decay_keeps_no_block_more(geometry):
    values = {**vars(geometry), "decay": geometry.decay / 2}
    assert not (radial_map(RadialGeometry(**values)).blocks & ~radial_map(geometry).blocks).any()


@pytest.mark.parametrize("tokens", [256, 1536, 1560, 3600])
def test_the_kept_pairs_grow_as_n_log_n(tokens):
    """The paper's bound is 4 S^2 F log2 F; dense attention is S^2 F^2."""
    lengths = (8, 16, 32, 64, 128, 256)
    maps = [radial_map(RadialGeometry(length, tokens)) for length in lengths]
    densities = [block_map.density for block_map in maps]
    assert densities == sorted(densities, reverse=True)
    per_frame = [density * length / math.log2(length) for density, length in zip(densities, lengths, strict=True)]
    assert max(per_frame) <= 4
    assert max(per_frame[2:]) / min(per_frame[2:]) < 1.35  # dense: 8 times as many frames, 5 times this figure


def test_the_models_default_size_works_which_the_published_code_cannot_run():
    geometry = RadialGeometry(21, 1560)  # 480x832, 81 frames: 32,760 tokens, 255.94 blocks
    assert (geometry.num_tokens, geometry.blocks_per_frame, geometry.num_padded) == (32_760, 13, 34_944)
    block_map = radial_map(geometry)
    assert round(1 - block_map.density, 4) == 0.5510
    assert round(block_map.cost, 4) == 0.5109  # the padding is computed, too


def test_frames_that_the_published_code_leaves_rows_empty_in_are_whole():
    """22x22 tokens and 31 frames at decay 4: there, the block rows 22, 56 and 90 see nothing."""
    assert radial_map(RadialGeometry(31, 22 * 22, decay=4.0)).blocks.any(1).all()


def test_lengths_in_one_process_keep_their_own_maps():
    first = radial_map(RadialGeometry(12, 256))
    assert radial_map(RadialGeometry(24, 256)).blocks.shape == (48, 48)
    assert radial_map(RadialGeometry(12, 256)) is first
    assert radial_map(RadialGeometry(12, 256, decay=0.2)) is not first


def test_one_frame_is_dense():
    assert radial_map(RadialGeometry(1, 500)).density == 1


def test_it_is_built_by_distances_not_by_pairs():
    started = time.perf_counter()
    radial_map(RadialGeometry(81, 1536, decay=0.77))
    assert time.perf_counter() - started < 2  # minutes, where pairs of tokens are visited; 0.01 s on a quiet core
