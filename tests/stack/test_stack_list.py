from lora_core.stack.stack import LoraStack
from lora_core.stack.stack_list import list_stack


def test_a_row_says_what_differs_from_the_plain():
    stack = LoraStack().add("sub/style.safetensors", 0.8)
    assert list_stack(stack) == "style: 0.8 on auto; style.safetensors"


def test_a_row_says_everything_that_was_said_of_it():
    stack = LoraStack.from_json(
        [
            {
                "path": "a_high.safetensors",
                "low_noise_path": "a_low.safetensors",
                "name": "a",
                "low_noise_weight": -0.5,
                "applies_to": "both",
                "schedule": "fade_out",
                "targets": "ffn=0",
                "enabled": False,
            }
        ]
    )
    assert list_stack(stack) == (
        "a: off, 1 (low_noise -0.5) on both; a_high.safetensors + a_low.safetensors; schedule fade_out; targets ffn=0"
    )


def test_an_empty_stack_says_so():
    assert list_stack(LoraStack()) == "no LoRAs"
