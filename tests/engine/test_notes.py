"""What is said of prompts: the words a LoRA waits for, as its file spells them."""

import pytest
import tiny
from tiny_loras import save_lora

from lora_core.engine.generate import generate
from lora_core.engine.request import GenerationRequest
from lora_core.families.wan.open import open_wan
from lora_core.stack.stack import LoraStack

SMALL = {"num_frames": 5, "height": 32, "width": 32, "num_steps": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    files = tiny.save_files(tmp_path_factory.mktemp("model"))
    return open_wan(files.high, **files.arguments())


@pytest.fixture
def lora(tmp_path):
    return save_lora(tmp_path / "pet.safetensors", metadata={"trigger_words": "red circle, blue"})


def notes(model, prompt, stack):
    return [note for note in generate(model, GenerationRequest(prompt, **SMALL), stack).notes if "lacks" in note]


@pytest.mark.parametrize(
    ("prompt", "lacking"),
    [
        ("a Red  circle, BLUE", ""),
        ("一个red circle和blue", ""),
        ("a red circle", "word 'blue'"),
        ("a circle, red and bluer", "words 'red circle', 'blue'"),
    ],
)
def test_trigger_words_that_a_prompt_lacks_are_named(model, lora, prompt, lacking):
    expected = [f"prompt: it lacks the trigger {lacking} of LoRA 'pet'"] if lacking else []
    assert notes(model, prompt, LoraStack().add(lora)) == expected


def test_a_lora_that_does_not_act_waits_for_no_word(model, lora):
    assert notes(model, "a square", LoraStack().add(lora, 0.0)) == []
    off = LoraStack.from_json([{"path": str(lora), "enabled": False}])
    assert notes(model, "a square", off) == []
