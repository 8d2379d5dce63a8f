"""What a job says is put where a workflow has a place for it, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lora_core
from lora_core.errors import RequestError
from lora_core.jobs.item import Item
from lora_core.jobs.workflow import Workflow, filled, read_workflow

SHIPPED = Path(lora_core.__file__).parents[1] / "workflows"


def changed_by(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Return "node id.input" -> value of everything that a job changes in a shipped workflow."""
    before = read_workflow(SHIPPED / "api" / f"{name}.json")
    after = filled(before, Item.from_json(1, {"prompt": "", **job}, Path()), lambda path: f"named-{path.name}")
    assert before == read_workflow(SHIPPED / "api" / f"{name}.json")
    return {
        f"{number}.{key}": value
        for number, node in after.items()
        for key, value in node["inputs"].items()
        if value != before[number]["inputs"][key]
    }


def test_every_value_comes_to_all_its_places_and_changes_nothing_else() -> None:
    job = {"prompt": "a cat", "seed": 9, "steps": 4, "shift": 3.0, "size": "32x48", "frames": 5, "fps": 16, "scale": 2}
    job |= {"loras": [{"path": "a.safetensors", "weight": 0.5}], "cfg": [3.0, 1.0], "output": "cat.mp4"}
    changed = changed_by("pocket-quickstart", job)
    (row,) = json.loads(changed.pop("2.loras"))
    assert (row["path"], row["weight"]) == ("a.safetensors", 0.5)
    sampler = {"6.seed": 9, "6.steps": 4, "6.shift": 3.0, "6.cfg_high": 3.0, "3.steps": 4, "3.shift": 3.0}
    size = {"5.width": 32, "5.height": 48, "5.length": 5}
    assert changed == {"4.text": "a cat", **sampler, **size, "8.scale_by": 2, "9.fps": 16}


def test_texts_and_pictures_are_found_by_where_they_lead() -> None:
    workflow = read_workflow(SHIPPED / "api" / "i2v-6-step.json")
    changed = changed_by("i2v-6-step", {"prompt": "it runs", "image": "folder/cat.png"})
    by_kind = {(workflow[place.split(".")[0]]["class_type"], place.split(".")[1]): v for place, v in changed.items()}
    assert by_kind == {("CLIPTextEncode", "text"): "it runs", ("LoadImage", "image"): "named-cat.png"}


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"image": "a.png"}, "image: the workflow has no place for it (an input start_image)."),
        ({"sigmas": "1, 0.5, 0"}, "sigmas: the workflow has no place for it (an input sigmas)."),
        ({"negative_prompt": "a dog"}, "negative_prompt: the workflow has no place for it (an input negative_prompt)."),
    ],
)
def test_what_has_no_place_is_an_error(job: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as error:
        changed_by("pocket-quickstart", job)
    assert str(error.value) == f"{said} Take another workflow, or leave it out."


def test_the_format_of_the_canvas_is_refused_with_the_way_to_the_other() -> None:
    with pytest.raises(RequestError, match=r"is no workflow for the API .*Export it with Export \(API\)"):
        read_workflow(SHIPPED / "pocket-quickstart.json")


def test_two_guidances_are_not_put_into_a_sampler_that_has_one() -> None:
    one: Workflow = {"1": {"class_type": "KSampler", "inputs": {"cfg": 1.0, "positive": ["2", 0]}}}
    one["2"] = {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}
    item = Item.from_json(1, {"prompt": "a", "cfg": [3, 1]}, Path())
    with pytest.raises(RequestError, match="cfg: the workflow has no place for it"):
        filled(one, item, str)
    same = filled(one, Item.from_json(1, {"prompt": "a", "cfg": 3}, Path()), str)
    assert (same["1"]["inputs"]["cfg"], same["2"]["inputs"]["text"]) == (3, "a")
