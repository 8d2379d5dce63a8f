"""The meaning of the pocket model's clips, on drawn ones whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lora_core import open_wan
from lora_core.lengths.meaning import is_embedded, pocket_prompts, read_meaning
from lora_core.pocket import world

PROMPT = "a red circle moves right on a striped background"


def drawn(num_frames: int, **words: str) -> np.ndarray:
    frames = world.draw(world.Scene(background="striped", **words), num_frames)
    return np.rint((frames + 1) * 127.5).astype(np.uint8)


@pytest.mark.parametrize("num_frames", [17, 33, 65])
def test_a_clip_as_asked_has_all_of_it_at_any_length(num_frames: int) -> None:
    assert read_meaning(drawn(num_frames), PROMPT) == {"colour": 1.0, "shape": 1.0, "direction": 1.0}


def test_what_is_lost_on_the_way_is_lost_in_part() -> None:
    whole = drawn(33)
    turns = np.concatenate([whole[:22], drawn(33, colour="blue", shape="square")[22:]])
    assert read_meaning(turns, PROMPT) == {
        "colour": pytest.approx(2 / 3),
        "shape": pytest.approx(2 / 3),
        "direction": 1.0,
    }
    comes_back = np.concatenate([whole[::2], whole[::-2]])
    assert read_meaning(comes_back, PROMPT)["direction"] == 0.0


def test_only_what_a_prompt_names_is_read() -> None:
    assert read_meaning(drawn(17), "something red") == {"colour": 1.0}


def test_the_models_own_prompts_are_known_to_it_and_show_all_kinds() -> None:
    model = open_wan("pocket")
    assert is_embedded(model)
    prompts = pocket_prompts()
    assert [model.unknown_words(prompt) for prompt in prompts] == [()] * len(prompts)
    for words in (world.SHAPES, world.DIRECTIONS, world.BACKGROUNDS, world.COLOURS):
        assert {word for prompt in prompts for word in prompt.split() if word in words} == set(words)
