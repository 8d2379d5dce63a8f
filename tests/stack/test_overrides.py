"""Overrides change the expert and schedule of LoRAs by name, and are refused where they say nothing or two things."""

import pytest
import torch

from lora_core import Full, LoraStack, LoraWeights, StackError, StrengthSchedule, load_stack, wan_spec
from lora_core.stack.overrides import overridden, overrides_from_json

SPEC = wan_spec("wan-pocket")


def weights(name: str) -> LoraWeights:
    return LoraWeights(None, name, {"blocks.0.ffn.0": Full(torch.zeros(512, 128))})


STACK = load_stack(LoraStack().add(weights("style"), schedule="fade_in").add(weights("face"), applies_to="both"), SPEC)


def test_an_override_changes_what_it_says_and_leaves_the_rest() -> None:
    text = '[{"name": "style", "applies_to": "low_noise"}, {"name": "face", "schedule": "fade_out"}]'
    changed = overridden(STACK, overrides_from_json(text))
    assert (changed.stack["style"].applies_to, changed.stack["style"].schedule) == (
        "low_noise",
        StrengthSchedule.fade_in(),
    )
    assert (changed.stack["face"].applies_to, changed.stack["face"].schedule) == ("both", StrengthSchedule.fade_out())


@pytest.mark.parametrize("nothing", ["null", '""'])
def test_a_schedule_can_be_taken_away(nothing: str) -> None:
    changed = overridden(STACK, overrides_from_json(f'[{{"name": "style", "schedule": {nothing}}}]'))
    assert changed.stack["style"].schedule is None


def test_a_schedule_has_the_same_forms_as_in_a_row() -> None:
    (override,) = overrides_from_json('[{"name": "style", "schedule": {"keyframes": [[1, 0.2], [0.5, 1]]}}]')
    assert override.schedule == StrengthSchedule(((1.0, 0.2), (0.5, 1.0)))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[{", "not JSON"),
        ("{}", "no list"),
        ("[3]", "3 is no override"),
        ('[{"nam": "style"}]', "nearest: 'name'"),
        ('[{"name": 5, "schedule": "fade_in"}]', "the name 5"),
        ('[{"name": "style"}]', "changes nothing"),
        ('[{"name": "style", "applies_to": "hihg_noise"}]', "nearest: 'high_noise'"),
        ('[{"name": "style", "schedule": 5}]', "5 is no schedule"),
        ('[{"name": "style", "name": "face", "schedule": "fade_in"}]', "twice in one object"),
        ('[{"name": "a", "schedule": "fade_in"}, {"name": "a", "applies_to": "both"}]', "overridden twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, fault: str) -> None:
    with pytest.raises(StackError, match=fault):
        overrides_from_json(text)


def test_a_name_that_is_not_in_the_stack_is_refused() -> None:
    with pytest.raises(StackError, match="no LoRA is named 'stile'"):
        overridden(STACK, overrides_from_json('[{"name": "stile", "schedule": "fade_in"}]'))
