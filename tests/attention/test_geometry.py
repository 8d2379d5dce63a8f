"""The geometry of radial attention: its counts, and what it refuses."""

import math

import pytest

from lora_core.attention.geometry import RadialGeometry, fitting_block_size
from lora_core.errors import RequestError

SIZES = "Choose one of the two, or leave it out for the size that fits the frames."
DECAYS = "Give a number above 0; the smaller, the more is left out."


def test_frames_and_text_fill_blocks_of_their_own():
    geometry = RadialGeometry(3, 200, num_text_tokens=130)
    assert (geometry.num_tokens, geometry.blocks_per_frame, geometry.num_video_blocks) == (730, 2, 6)
    assert (geometry.num_blocks, geometry.num_padded, geometry.is_padded) == (8, 1024, True)
    assert not RadialGeometry(3, 256).is_padded


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_frames": 0}, "num_frames: 0 is out of range (at least 1). Choose a number in that range."),
        ({"tokens_per_frame": 2.5}, "tokens_per_frame: 2.5 is not a whole number (at least 1). Give a whole number."),
        ({"block_size": 96}, "block_size: 96 is no power of two (64 or 128). " + SIZES),
        ({"block_size": 8}, "block_size: 8 is out of range (16 to 1024). Choose a number in that range."),
        ({"decay": 0}, "decay: 0 leaves nothing of a band (above 0, 1 in the paper's long videos). " + DECAYS),
        ({"decay": -0.5}, "decay: -0.5 leaves nothing of a band (above 0, 1 in the paper's long videos). " + DECAYS),
        ({"decay": math.nan}, "decay: nan is not finite (a finite real number). Give a finite number."),
        ({"sink": 1}, "sink: 1 is neither yes nor no (True or False). Give one of the two."),
        ({"num_text_tokens": -1}, "num_text_tokens: -1 is out of range (at least 0). Choose a number in that range."),
        ({"thin_below": 0}, "thin_below: 0 is out of range (at least 1). Choose a number in that range."),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values, message):
    with pytest.raises(RequestError) as refused:
        RadialGeometry(**{"num_frames": 4, "tokens_per_frame": 256, **values})
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("tokens", "size"), [(1, 16), (16, 16), (31, 16), (64, 64), (127, 64), (128, 128), (1560, 128), (3840, 128)]
)
def test_small_frames_get_small_blocks(tokens, size):
    assert fitting_block_size(tokens) == size
