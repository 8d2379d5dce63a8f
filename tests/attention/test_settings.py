"""Settings of radial attention: what is used at which length, and the geometry they make of a clip."""

import json
from dataclasses import asdict

import pytest

from lora_core.attention.block_map import radial_map
from lora_core.attention.dense import DenseRule
from lora_core.attention.settings import RadialSettings, geometry_of, settings_from, usual_radial
from lora_core.errors import RequestError
from lora_core.families.registry import spec_named


@pytest.mark.parametrize(
    ("name", "num_frames", "decay", "dense"),
    [
        ("wan2.1-t2v-14b", 69, 0.2, DenseRule(0.25, 1, 1)),
        ("wan2.1-t2v-14b", 161, 1.0, DenseRule(2, 1, 2)),
        ("wan2.2-t2v-a14b", 77, 0.8, DenseRule(0.25, 1, 1)),
        ("wan2.2-t2v-a14b", 161, 1.0, DenseRule(2, 1, 2)),
        ("wan-pocket", 33, 1.0, DenseRule(2, 1, 2)),
    ],
)
def test_what_is_usual_goes_by_model_and_length(name, num_frames, decay, dense):
    settings = usual_radial(spec_named(name), (num_frames - 1) // 4 + 1)
    assert (settings.decay, settings.sink, settings.dense) == (decay, True, dense)
    assert settings.source


def test_the_geometry_is_that_of_the_networks_tokens():
    geometry = geometry_of(spec_named("wan2.2-t2v-a14b"), (1, 16, 21, 60, 104), RadialSettings(decay=0.5))
    assert (geometry.num_frames, geometry.tokens_per_frame, geometry.block_size) == (21, 1560, 128)
    assert (geometry.decay, geometry.sink, geometry.thin_below) == (0.5, True, 128)


@pytest.mark.parametrize("side", [2, 4, 6, 8, 10, 14, 16])
def test_a_small_frame_sees_its_neighbours(side):
    geometry = geometry_of(spec_named("wan-pocket"), (1, 16, 9, 2 * side, 2 * side), RadialSettings())
    blocks = radial_map(geometry).blocks.unflatten(0, (9, -1)).unflatten(2, (9, -1))
    assert all(blocks[frame, :, frame + 1].all() for frame in range(8))
    assert radial_map(geometry).density < 0.9


def test_they_come_back_from_json():
    settings = RadialSettings(0.5, False, 64, DenseRule(0.25, 0, 3), "gathered")
    assert settings_from(json.loads(json.dumps(asdict(settings))), "record") == settings
    with pytest.raises(RequestError, match=r"^record: unknown key 'decoy' \(nearest: 'decay'\)"):
        settings_from({"decoy": 1}, "record")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"decay": 0.0},
            "decay: 0 leaves nothing of a band (above 0, 1 in the paper's long videos). "
            "Give a number above 0; the smaller, the more is left out.",
        ),
        (
            {"block_size": 100},
            "block_size: 100 is no power of two (64 or 128). "
            "Choose one of the two, or leave it out for the size that fits the frames.",
        ),
        (
            {"executor": "sage"},
            "executor: unknown value 'sage' (one of auto, flex, gathered, masked). Choose one that there is.",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_clip(values, message):
    with pytest.raises(RequestError) as refused:
        RadialSettings(**values)
    assert str(refused.value) == message
