"""Rows as people and other tools write them, read as the rows they mean or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_core.errors import StackError
from lora_core.stack.rows import our_row
from lora_core.stack.stack import LoraStack

#: Rows as they are written and what they mean, which the tests of the page read too.
FOREIGN = json.loads((Path(__file__).parents[2] / "web/tests/foreign_rows.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", FOREIGN, ids=lambda row: row["case"])
def test_a_row_is_read_as_what_it_means(row: dict[str, object]) -> None:
    assert our_row(row["form"], "test") == row["row"]
    for whole in ([row["form"]], json.dumps([row["form"]]), json.dumps(row["form"])):
        assert LoraStack.from_json(whole) == LoraStack.from_json([row["row"]])


LISTS = {
    "LightX2V": {"lora_configs": [{"path": "a.pt", "strength": 1.0}, "b.pt"]},
    "under a name": {"loras": [{"path": "a.pt"}, {"path": "b.pt"}]},
    "Power Lora Loader": {"lora_1": {"on": True, "lora": "a.pt"}, "lora_2": {"on": True, "lora": "b.pt"}},
}


@pytest.mark.parametrize("case", LISTS)
def test_an_object_that_holds_the_rows_is_read(case: str) -> None:
    assert [entry.name for entry in LoraStack.from_json(LISTS[case])] == ["a", "b"]


FAULTS = {
    "a strength on the text encoder": (
        {"lora": "a.pt", "strength": 1, "strengthTwo": 0.5},
        "stack entry 1: strengthTwo 0.5 is a strength on the text encoder, on which no LoRA acts here. Leave it out.",
    ),
    "three weights": ({"path": "a.pt", "weight": [1, 2, 3]}, r"weight \[1, 2, 3\] has 3 numbers \(one number, or two"),
    "a pair and a second": ({"path": "a.pt", "weight": [1, 2], "low_noise_weight": 1}, "has 2 numbers"),
    "keys beside the list": ({"lora_configs": [], "infer_steps": 4}, "unknown key 'infer_steps'"),
    "two names of one thing": ({"path": "a.pt", "lora": "b.pt"}, "'path' is given twice, also as 'lora'"),
    "a file that is no text": ({"path": "a", "weight_name": 5}, "weight_name 5 names no file"),
    "an unknown key": ({"path": "a.pt", "strenght": 1}, r"unknown key 'strenght' \(nearest: 'strength'\)"),
    "an address": (
        {"path": "https://civitai.com/models/1"},
        "^https://civitai.com/models/1: is an address, not a file",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_meant_is_refused_by_name(case: str) -> None:
    form, message = FAULTS[case]
    with pytest.raises(StackError, match=message):
        LoraStack.from_json(form).resolved([])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("wan\\a\\style.safetensors", "style"),
        ("wan\\a\\style", "style"),
        ("wan/a/style.v2.safetensors", "style.v2"),
        ("lightx2v/Wan2.2-Distill-Loras", "Wan2.2-Distill-Loras"),
        ("style.PT", "style"),
    ],
)
def test_a_row_without_a_name_is_called_by_the_last_part_of_its_path(path: str, name: str) -> None:
    (entry,) = LoraStack.from_json([{"path": path}])
    assert entry.name == name
    assert LoraStack().add(path).entries[0].name == name


def test_a_schedule_may_be_called_constant() -> None:
    (entry,) = LoraStack.from_json([{"path": "a.pt", "schedule": "constant"}])
    assert entry.schedule is not None
    assert str(entry.schedule) == "constant:1"


@pytest.mark.parametrize("rows", ["style.safetensors", [5], [{"path": "a.pt"}]])
def test_a_stack_of_something_else_is_refused_with_the_way_to_build_one(rows: object) -> None:
    with pytest.raises(StackError, match=r"is no row of a stack \(LoraEntry\)\. Build it with LoraStack\(\)\.add"):
        LoraStack(rows)  # type: ignore[arg-type]  # what a user may try
