"""What a person says of radial attention: the usual, or what differs from it."""

import pytest

from lora_core.attention.dense import DenseRule
from lora_core.attention.settings import RadialSettings, usual_radial
from lora_core.attention.wishes import RadialWishes
from lora_core.errors import LoraCoreError
from lora_core.families.registry import spec_named

SPEC = spec_named("wan2.1-t2v-14b")


@pytest.mark.parametrize("length", [18, 41])
def test_nothing_said_is_the_usual_for_model_and_length(length):
    assert RadialWishes.parse("usual") == RadialWishes.parse(" ") == RadialWishes()
    assert RadialWishes().settings(SPEC, length) == usual_radial(SPEC, length)


def test_what_is_said_takes_the_place_of_the_usual_and_no_source_is_claimed_for_it():
    wishes = RadialWishes.parse("decay=0.5, first=25%,last=0,blocks=3,block_size=64,executor=masked")
    assert wishes.settings(SPEC, 41) == RadialSettings(0.5, True, 64, DenseRule(0.25, 0, 3), "masked")
    partly = RadialWishes.parse("last=2").settings(SPEC, 18)
    assert (partly.decay, partly.dense, partly.source) == (0.2, DenseRule(0.25, 2, 1), "")


def test_another_executor_is_no_other_setting():
    settings = RadialWishes(executor="gathered").settings(SPEC, 41)
    assert (settings.executor, settings.source) == ("gathered", usual_radial(SPEC, 41).source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "decoy=1",
            "--radial: unknown key 'decoy' (nearest: 'decay'). Correct or remove it.",
        ),
        ("decay=0.5,decay=1", "--radial: 'decay=0.5,decay=1' says one thing twice. Say each once."),
        ("decay", "decay: '' is not a number (a finite real number). Give a number."),
        (
            "decay=-1",
            "decay: -1 leaves nothing of a band (above 0, 1 in the paper's long videos). "
            "Give a number above 0; the smaller, the more is left out.",
        ),
        (
            "first=1.5",
            "first_steps: 1.5 is no share (0.0 to 1.0, or a whole number of them). "
            "Give 2 for two of them, 0.25 for a quarter of all.",
        ),
        ("first=-2", "first_steps: -2 is no share (0.0 to 1.0, or a whole number of them). "
            "Give 2 for two of them, 0.25 for a quarter of all."),
        (
            "block_size=100",
            "block_size: 100 is no power of two (64 or 128). "
            "Choose one of the two, or leave it out for the size that fits the frames.",
        ),
        (
            "executor=sage",
            "executor: unknown value 'sage' (one of auto, flex, gathered, masked). Choose one that there is.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_error(text, message):
    with pytest.raises(LoraCoreError) as refused:
        RadialWishes.parse(text, "--radial")
    assert str(refused.value) == message
