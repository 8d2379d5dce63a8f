"""MaskLora: where and when rows of a stack act, on a model or before, and what presets keep of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image
from wanloom.lora_core import LoraStack, StackError
from wanloom.lora_core.regions.pictures import read_mask
from wanloom.nodes.base import MissingOutputError
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.mask_lora import MaskLora
from wanloom.nodes.presets import LoadLoraStack, SaveLoraStack
from wanloom.nodes.stack import ApplyLoraStack
from wanloom.nodes.stack_files import parse_stack

ROWS = [
    {"path": "zibbo_character_high_noise.safetensors", "name": "zibbo"},
    {"path": "neon_style_high_noise.safetensors", "name": "neon", "region": "right", "time": "from 1s"},
]


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user directory and a folder of pictures of the test's own."""
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    (tmp_path / "input").mkdir()
    Image.fromarray(np.uint8([[0, 255]])).save(tmp_path / "input" / "half.png")
    return tmp_path


@pytest.fixture
def stack() -> LoraStack:
    return parse_stack(json.dumps(ROWS), "test")


def masked(stack: LoraStack, **options: Any) -> LoraStack:
    defaults = {"lora": "zibbo", "region": "", "time": "", "soft": 0.0625, "invert": False}
    return MaskLora.execute(stack=stack, **{**defaults, **options}).args[2]


def test_a_row_gets_a_place_and_a_time_and_the_others_keep_theirs(stack: LoraStack) -> None:
    found = masked(stack, region="left", time="until 2s")
    assert (str(found["zibbo"].region), str(found["zibbo"].over_time)) == ("left", "until 2s")
    assert found["neon"] == stack["neon"]
    later = masked(found, time="from frame 9")
    assert (str(later["zibbo"].region), str(later["zibbo"].over_time)) == ("left", "from 9f")
    everyone = masked(stack, lora="", region="top")
    assert {str(row.region) for row in everyone} == {"top"}
    assert str(everyone["neon"].over_time) == "from 1s"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"region": "left", "soft": 0.1}, "left; soft=0.1"),
        ({"region": "left; soft=0.2", "soft": 0.1}, "left; soft=0.2"),
        ({"region": "left", "invert": True}, "not left"),
        ({"region": "not left", "invert": True}, "left"),
        ({"region": "0.5,0,1,1", "soft": 0.0}, "right; soft=0"),
    ],
)
def test_edge_and_inversion_are_the_nodes_or_the_texts(stack: LoraStack, options: Any, expected: str) -> None:
    assert str(masked(stack, **options)["zibbo"].region) == expected


def test_seconds_of_another_rate_become_frames(stack: LoraStack) -> None:
    assert str(masked(stack, time="from 2s", fps=8.0)["zibbo"].over_time) == "from 16f"
    assert str(masked(stack, time="from frame 3", fps=8.0)["zibbo"].over_time) == "from 3f"
    assert str(masked(stack, time="1s-2s; hard", fps=24.0)["zibbo"].over_time) == "24f-48f; hard"


def test_a_mask_in_the_folder_of_pictures_is_found_and_none_outside(stack: LoraStack, folders: Path) -> None:
    assert masked(stack, region="half.png")["zibbo"].region.path == folders / "input" / "half.png"
    (row, _) = parse_stack(json.dumps([{**ROWS[0], "region": "half.png"}, ROWS[1]]), "test")
    assert row.region.path == folders / "input" / "half.png"
    with pytest.raises(StackError, match="no such file in"):
        masked(stack, region="other.png")
    with pytest.raises(StackError, match="leaves the folders of masks"):
        masked(stack, region="../secret.png")
    assert MaskLora.fingerprint_inputs(region="half.png")[0][1] > 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "no mask, no region and no time were given"),
        ({"invert": True, "time": "from 1s"}, "there is nothing to invert"),
        ({"region": "left", "mask": torch.ones(1, 4, 4)}, "a mask is connected and the region left written"),
        ({"lora": "zibo", "region": "left"}, "no LoRA is named 'zibo'"),
        ({"region": "lefft"}, "'lefft' is no place in a picture"),
        ({"time": "soon"}, "'soon' is not readable"),
    ],
)
def test_what_cannot_be_meant_is_refused(stack: LoraStack, options: Any, expected: str) -> None:
    with pytest.raises(StackError, match=expected):
        masked(stack, **options)


def test_one_of_a_model_and_a_stack_is_needed(stack: LoraStack) -> None:
    with pytest.raises(StackError, match="it needs a model or a stack, and not both"):
        masked(None, region="left")
    model = MaskLora.execute(lora="", region="left", time="", soft=0.1, invert=False, stack=stack).args[0]
    with pytest.raises(MissingOutputError, match="a stack was given"):
        model.spec  # noqa: B018  # whoever uses it fails


def test_a_model_keeps_its_loras_and_its_report_tells_where_they_act() -> None:
    with torch.inference_mode():
        model = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args[0]
    dressed = ApplyLoraStack.execute(model=model, loras=json.dumps(ROWS)).args[0]
    mask = torch.zeros(1, 4, 4)
    mask[..., :2] = 1
    output = MaskLora.execute(model=dressed, lora="zibbo", region="", time="", soft=0.0, invert=False, mask=mask)
    changed, report, stack = output.args
    assert "zibbo, region mask of 1 frame(s), 4x4; soft=0" in report
    assert "neon, region right, time from 1s" in report
    assert changed.loaded.stack is stack
    assert all(lora.is_masked for lora in changed.route().all)


@pytest.mark.parametrize("num_frames", [1, 9])
def test_a_preset_keeps_regions_times_and_masks_that_other_nodes_made(
    stack: LoraStack, folders: Path, num_frames: int
) -> None:
    mask = torch.rand(num_frames, 6, 4, generator=torch.Generator().manual_seed(0))
    SaveLoraStack.execute(masked(stack, mask=mask, time="1s-2s", soft=0.1), "trips/halves")
    loaded = LoadLoraStack.execute("trips/halves", True).args[0]
    assert loaded["neon"].region == stack["neon"].region
    assert loaded["neon"].over_time == stack["neon"].over_time
    region = loaded["zibbo"].region
    assert (region.soft, region.inverted, str(loaded["zibbo"].over_time)) == (0.1, False, "1s-2s")
    assert np.abs(read_mask(region.path) - mask.numpy()).max() <= 0.5 / 255 + 1e-6
    rows = json.loads((folders / "user/default/wanloom/stacks/trips/halves.json").read_text())
    assert not Path(str(rows[0]["region"]).split(";")[0]).is_absolute()
    SaveLoraStack.execute(loaded, "again")
    region.path.write_bytes(b"another")
    with pytest.raises(StackError, match="a mask has changed"):
        LoadLoraStack.execute("trips/halves", True)
