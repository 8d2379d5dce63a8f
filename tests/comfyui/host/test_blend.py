"""BlendLoras: two rows of a model's stack become one LoRA between the two."""

import json

import pytest
from wanloom.lora_core import RunSettings, StackError
from wanloom.nodes.blend import CROSS_FADE, FIXED, BlendLoras
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.sockets import WanModelHandle
from wanloom.nodes.stack import ApplyLoraStack

ROWS = [
    {"path": "speed_6steps_high_noise.safetensors", "name": "speed"},
    {"path": "neon_style_high_noise.safetensors", "name": "neon"},
    {"path": "zibbo_character_high_noise.safetensors", "name": "zibbo", "weight": 0.8},
]


@pytest.fixture(scope="module")
def model() -> WanModelHandle:
    pocket = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[0]
    return ApplyLoraStack.execute(pocket, json.dumps(ROWS)).args[0]


def strengths(model: WanModelHandle, name: str) -> tuple[float | None, ...]:
    return model.plan(RunSettings()).strengths_of(name)


def test_a_fixed_blend_shares_the_strength_at_every_step(model: WanModelHandle) -> None:
    blended, report, stack = BlendLoras.execute(model, "neon", "zibbo", FIXED, 0.25, "fade_in").args
    assert strengths(blended, "neon") == pytest.approx([0.25] * 6)
    assert strengths(blended, "zibbo") == pytest.approx([0.6] * 6)
    assert strengths(blended, "speed") == strengths(model, "speed")
    assert "neon_style_high_noise.safetensors: high_noise 0.25" in report
    assert stack["zibbo"].strength == pytest.approx(0.6)


def test_a_cross_fade_goes_from_the_second_to_the_first(model: WanModelHandle) -> None:
    blended, report, _ = BlendLoras.execute(model, "neon", "zibbo", CROSS_FADE, 0.25, "fade_in").args
    neon, zibbo = strengths(blended, "neon"), strengths(blended, "zibbo")
    assert (neon[0], neon[-1], zibbo[0], zibbo[-1]) == pytest.approx((0, 1, 0.8, 0))
    assert [first + second / 0.8 for first, second in zip(neon, zibbo, strict=True)] == pytest.approx([1] * 6)
    assert "neon, schedule fade_in" in report


def test_the_model_given_is_left_as_it_was(model: WanModelHandle) -> None:
    BlendLoras.execute(model, "neon", "zibbo", FIXED, 0.0, "fade_in")
    assert strengths(model, "neon") == (1,) * 6


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("noen", "zibbo", "nearest: 'neon'"),
        ("neon", "zibo", "nearest: 'zibbo'"),
        ("neon", "neon", "cannot be blended with itself"),
        ("", "zibbo", "no LoRA is named ''"),
    ],
)
def test_a_name_that_is_no_row_is_refused_with_the_nearest(
    model: WanModelHandle, first: str, second: str, message: str
) -> None:
    with pytest.raises(StackError, match=message):
        BlendLoras.execute(model, first, second, FIXED, 0.5, "fade_in")


def test_a_row_with_a_schedule_cannot_be_cross_faded(model: WanModelHandle) -> None:
    scheduled = BlendLoras.execute(model, "neon", "zibbo", CROSS_FADE, 0.5, "fade_out").args[0]
    with pytest.raises(StackError, match="it has the schedule fade_out already"):
        BlendLoras.execute(scheduled, "neon", "speed", CROSS_FADE, 0.5, "fade_out")


def test_a_text_that_is_no_schedule_is_told_at_the_node() -> None:
    assert BlendLoras.validate_inputs("fade_in") is True
    assert BlendLoras.validate_inputs(None) is True
    assert "fade_inn" in BlendLoras.validate_inputs("fade_inn")
