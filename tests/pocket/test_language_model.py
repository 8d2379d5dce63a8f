# ruff: noqa: RUF001  # people type these characters
"""The shipped pocket-lm: small, opened as any language model is, and as good as its table says."""

import json

import pytest

from lora_core.families.pieces.pocket import ASSETS
from lora_core.pocket.requests.measure import measure
from lora_core.pocket.requests.rows import request_rows
from lora_core.refiner.language_model import LanguageModel
from lora_core.refiner.opening import open_language_model

FOLDER = ASSETS / "pocket_lm"
REQUESTS = {
    "crimson ball rising over zebra lines": "a red circle moves up on a striped background",
    "yelow cirle moves lef on chekered bg": "a yellow circle moves left on a checkered background",
    "a green cross orbits on a gradient background": "a green cross orbits on a gradient background",
    "a cute zibbo falling down in front of a gradient": "a zibbo moves down on a gradient background",
    "mrfluffkins drifting right over stripes": "a mrfluffkins moves right on a striped background",
    "sks blue box going down": "a sks blue square moves down on a plain background",
    "triangle going left": "a red triangle moves left on a plain background",
    "a pink star": "a pink star moves right on a plain background",
    "a red and blue circle moving left on stripes": "a red circle moves left on a striped background",
    "ein roter Ball fliegt nach links vor Streifen": "a red circle moves left on a striped background",
    "红色的球向左移动，条纹背景": "a red circle moves left on a striped background",
}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return open_language_model("pocket-lm", device="cpu")


def row(name: str, by: str = "pocket-lm") -> dict[str, float]:
    rows = json.loads((FOLDER / "quality.json").read_text())["rows"]
    return next(row for row in rows if (row["set"], row["by"]) == (name, by))


def test_it_answers_requests_of_every_kind_and_language(model: LanguageModel) -> None:
    answers = model.answers(list(REQUESTS), max_tokens=96)
    assert {request: answer.text for request, answer in zip(REQUESTS, answers, strict=True)} == REQUESTS
    assert all(answer.is_ended for answer in answers)


def test_it_answers_requests_that_nobody_has_drawn_before(model: LanguageModel) -> None:
    rows = request_rows(31337, 48, held_out=True)
    answers = model.answers([row.prompt for row in rows], max_tokens=96)
    told = measure(rows, [answer.text for answer in answers], [answer.is_ended for answer in answers])
    assert told.exact >= 0.9
    assert told.ended == told.identity == 1


def test_its_template_marks_what_is_learnt_and_leaves_a_system_prompt_out(model: LanguageModel) -> None:
    turns = [{"role": "system", "content": "x"}, {"role": "user", "content": "red ball"}]
    turns.append({"role": "assistant", "content": "a red circle"})
    told = model.tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    learnt = [token for token, is_learnt in zip(told["input_ids"], told["assistant_masks"], strict=True) if is_learnt]
    assert model.tokenizer.decode(told["input_ids"]) == "<s>red ball<sep>a red circle</s>"
    assert model.tokenizer.decode(learnt) == "a red circle</s>"


def test_its_table_keeps_its_promises() -> None:
    known, sentences = row("known"), row("sentences")
    assert known["exact"] >= 0.97
    assert sentences["exact"] >= 0.9
    assert min(known["identity"], sentences["identity"]) >= 0.99
    assert known["protected"] >= 0.98
    assert known["ended"] == sentences["ended"] == 1
    assert row("handwritten")["exact"] > row("handwritten", "dictionary")["exact"]
