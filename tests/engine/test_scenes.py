import json

import pytest

from lora_core.engine.scenes import Scene, scenes_from_json
from lora_core.errors import RequestError, StackError


def read(*rows):
    return scenes_from_json(json.dumps(rows))


def test_a_scene_is_a_prompt_and_what_differs_from_the_others():
    first, second = read(
        {"prompt": "a cat runs"},
        {"prompt": "", "length": 17, "preset": "neon", "negative": "blurred", "seed": 7},
    )
    assert first == Scene("a cat runs")
    assert second == Scene("", num_frames=17, preset="neon", negative_prompt="blurred", seed=7)


def test_the_loras_of_a_scene_are_a_stack():
    (scene,) = read({"prompt": "a", "loras": [{"path": "style.safetensors", "weight": 0.8}]})
    assert scene.loras["style"].strength == 0.8


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a cat", "scene 2: 'a cat' is no scene"),
        ({}, "scene 2 prompt: there is none"),
        ({"prompt": 1}, "scene 2 prompt: 1 is no text"),
        ({"promt": "a"}, "scene 2: unknown key 'promt' (nearest: 'prompt')"),
        ({"prompt": "a", "length": 17.0}, "scene 2 length: 17.0 is not a whole number"),
        ({"prompt": "a", "length": 0}, "scene 2 length: 0 is out of range"),
        ({"prompt": "a", "seed": 2**64}, "scene 2 seed: 18446744073709551616 is out of range"),
        ({"prompt": "a", "preset": "a", "loras": []}, "scene 2 preset: the scene has loras too"),
    ],
)
def test_what_is_wrong_in_a_scene_is_told_with_its_number(row, message):
    with pytest.raises(RequestError) as caught:
        read({"prompt": "a"}, row)
    assert str(caught.value).startswith(message)


def test_what_is_wrong_in_a_stack_is_told_with_scene_and_row():
    with pytest.raises(StackError, match=r"^scene 1 loras entry 2 .*weight: 'much' is not a number"):
        read({"prompt": "a", "loras": [{"path": "a.pt"}, {"path": "b.pt", "weight": "much"}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "scenes: not JSON: Expecting value at line 1, column 2"),
        ("[]", "scenes: there is none"),
        ('{"prompt": "a"}', "scenes: no list of scenes"),
        ('[{"prompt": "a", "prompt": "b"}]', "scenes: not usable JSON: the key 'prompt' twice"),
    ],
)
def test_text_that_is_no_list_of_scenes_is_refused_with_an_example(text, message):
    with pytest.raises(RequestError) as caught:
        scenes_from_json(text)
    assert str(caught.value).startswith(message)
    assert '[{"prompt": "a cat runs"' in str(caught.value)
