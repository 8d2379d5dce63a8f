"""The axes of a grid as they are written, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_core.errors import LoraCoreError, RequestError
from lora_core.grids.axis import Axis
from lora_core.grids.kinds import KINDS
from lora_core.grids.lora_files import LoraFile, read_files, short_names
from lora_core.stack.schedule import StrengthSchedule
from lora_core.stack.target_filter import TargetFilter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strength zibbo low = 0 | 0.5", Axis("strength", (0.0, 0.5), "zibbo", "low_noise")),
        ('strength "a b" tied = 0 | 1', Axis("strength", (0.0, 1.0), "a b", "both")),
        ("strength low = 0 | 1", Axis("strength", (0.0, 1.0), "low", "both")),
        ("schedule z = none | fade_out", Axis("schedule", (None, StrengthSchedule.fade_out()), "z")),
        ("targets z high = none | ffn=0", Axis("targets", (None, TargetFilter.parse("ffn=0")), "z", "high_noise")),
        ("cfg = 1 | 3.5, 1", Axis("cfg", (1.0, (3.5, 1.0)))),
        ("prompt = a cat = a tiger, small | a dog", Axis("prompt", ("a cat = a tiger, small", "a dog"))),
        ("steps = 4 | 6", Axis("steps", (4, 6))),
        ("solver = euler | lcm", Axis("solver", ("euler", "lcm"))),
    ],
)
def test_an_axis_is_a_line_of_text(text, expected):
    assert Axis.parse(text) == expected


def test_the_labels_of_an_axis_read_back_to_its_values():
    for text in (
        "schedule z = none | fade_out@steps",
        "targets z = none | ffn=0",
        "without = none | z",
        "cfg = 1 | 3.5,1",
        "seed = 1 | 2",
    ):
        axis = Axis.parse(text)
        assert Axis.from_json(axis.to_json()) == axis


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("seeds = 1 | 2", "axis: unknown value 'seeds' (nearest: 'seed')."),
        ("seed", "axis: 'seed' is none (KIND [LORA] [EXPERT] = VALUE | VALUE | …)."),
        ("seed zibbo = 1 | 2", "axis: seed is of no LoRA and no expert (seed = … | …)."),
        ("strength = 1 | 2", "axis: strength is of a LoRA and none is named"),
        ("strength a b = 1 | 2", "axis: 'b' says nothing in 'strength a b = 1 | 2'"),
        ("seed = 1", "axis: seed has 1 value (at least two)."),
        ("seed = 1 | 1", "seed: '1' is there twice. Leave one out."),
        ("seed = 1 | x", "seed: 'x' is not a whole number"),
        ("strength z = 1 | x", "strength: 'x' is not a number"),
        ("schedule z = fade_up | none", "schedule: unknown shape 'fade_up'"),
        ("targets z = fnn=0 | none", "target filter: unknown module kind 'fnn'"),
        ("cfg = 1 | 1,2,3", "cfg: 3 values"),
        ("file z = nothing-*.safetensors | none", "file: 'nothing-*.safetensors' meets no LoRA file"),
        ({"axis": "seed", "values": [1, 2], "label": []}, "axis: unknown key 'label' (nearest: 'labels')."),
        ({"axis": "seed", "values": 1}, "axis: {'axis': 'seed', 'values': 1} has no list of values"),
        ({"axis": "seed", "values": [1, 2], "labels": ["one"]}, "axis: 1 labels for 2 values (a text for each)."),
        ({"axis": "strength", "lora": "z", "expert": "lo", "values": [1, 2]}, "axis expert: unknown value 'lo'"),
        ({"axis": "prompt", "values": [1, 2]}, "prompt: 1 is no text"),
        (7, "axis: 7 is none"),
    ],
)
def test_what_is_wrong_with_an_axis_is_said(form, message):
    with pytest.raises(LoraCoreError) as caught:
        Axis.from_json(form)
    assert str(caught.value).startswith(message)


def test_a_pattern_stands_for_files_in_the_order_that_people_count(tmp_path: Path):
    for step in (9, 10, 100):
        for expert in ("high", "low"):
            (tmp_path / f"style-{step}_{expert}_noise.safetensors").touch()
    files = read_files("style-*.safetensors", tmp_path)
    assert short_names(files) == [f"style-{s}_high_noise + style-{s}_low_noise" for s in (9, 10, 100)]


def test_the_folder_of_a_training_stands_for_its_checkpoints_and_what_it_led_to(tmp_path: Path):
    for folder in ("checkpoints/step-000002", "checkpoints/step-000010", ""):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "mine_low_noise.safetensors").touch()
    names = [path.parent.name for file in read_files(str(tmp_path)) if (path := file.path)]
    assert names == ["step-000002", "step-000010", tmp_path.name]
    assert short_names(read_files(str(tmp_path)))[0] == "step-000002/mine_low_noise"


def test_a_value_may_be_a_pair_or_none():
    assert read_files("a.safetensors + b.safetensors") == [LoraFile(Path("a.safetensors"), Path("b.safetensors"))]
    assert read_files("none") == [LoraFile()]
    with pytest.raises(RequestError, match="file: 3 is no file"):
        read_files(3)


def test_every_kind_says_what_it_is():
    assert all(kind.about for kind in KINDS.values())
