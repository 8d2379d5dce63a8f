"""A reply of a language model gives the prompt that is in it, without what models put around such."""

from __future__ import annotations

import pytest

from lora_core.errors import RequestError
from lora_core.refiner.instructions import find_instructions
from lora_core.refiner.reply import prompt_in

RULES = find_instructions("cosmos").text


def told(reply: str, request: str = "a cat", *, is_ended: bool = True) -> str:
    return prompt_in(reply, request, RULES, is_ended=is_ended, max_tokens=9)


@pytest.mark.parametrize(
    ("reply", "prompt"),
    [
        ("a tabby cat", "a tabby cat"),
        ("<think>They want\na cat.</think>\n\na tabby cat", "a tabby cat"),
        ("They want a cat.</think>a tabby cat", "a tabby cat"),
        ('"a tabby cat"', "a tabby cat"),
        ("“a tabby cat”", "a tabby cat"),
        ("Prompt: a tabby cat", "a tabby cat"),
        ("**Refined prompt:** “a tabby cat”", "a tabby cat"),
        ("提示词\uff1a一只猫", "一只猫"),
        ("Here is the refined prompt:\n```text\na tabby cat\n```", "a tabby cat"),
        ("```\na tabby cat\n```", "a tabby cat"),
        ('"OPEN" on a sign, "SHUT"', '"OPEN" on a sign, "SHUT"'),
        ("'it's a cat'", "it's a cat"),
    ],
)
def test_what_surrounds_the_prompt_is_left_out(reply: str, prompt: str) -> None:
    assert told(reply) == prompt


def test_what_the_request_has_around_it_stays() -> None:
    assert told('"a tabby"', request='"a cat"') == '"a tabby"'
    assert told("prompt: a tabby", request="Prompt: a cat") == "prompt: a tabby"


@pytest.mark.parametrize(
    ("reply", "is_ended", "said"),
    [
        ("a tabby cat, a tabby", False, "refiner: it did not come to an end within 9 tokens. Take another model, or"),
        ("<think>They want", True, "refiner: it did not come to an end of its thinking."),
        (RULES, True, "refiner: it repeats its instructions."),
        (f"a cat. {RULES.splitlines()[-1]}", True, "refiner: it repeats its instructions."),
    ],
)
def test_a_reply_without_a_prompt_is_an_error(reply: str, is_ended: bool, said: str) -> None:
    with pytest.raises(RequestError) as error:
        told(reply, is_ended=is_ended)
    assert str(error.value).startswith(said)
