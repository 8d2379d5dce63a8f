"""The report on a stack says of every row where it acts and what became of its tensors."""

import json
import re
from pathlib import Path

import tiny
import tiny_loras
import torch
from safetensors.torch import load_file, save_file

from lora_core import LoraStack, load_stack, route
from lora_core.families.wan.spec import infer_wan_spec
from lora_core.plan.report import StackReport, report_on_stack

SPEC = infer_wan_spec({name: tuple(value.shape) for name, value in tiny.native_state(tiny.transformer()).items()})


def report(rows: list[dict[str, object]]) -> StackReport:
    loaded = load_stack(LoraStack.from_json(rows), SPEC)
    return report_on_stack(loaded, route(loaded, SPEC))


def test_a_pair_is_one_row_with_both_files_and_where_each_acts(tmp_path: Path) -> None:
    high = tiny_loras.save_lora(tmp_path / "style_high.safetensors")
    tiny_loras.save_lora(tmp_path / "style_low.safetensors", seed=1, rank=2)
    (row,) = report([{"path": str(high), "weight": 0.8, "schedule": "fade_out"}]).rows
    assert row.found_twin
    assert row.schedule == "fade_out"
    assert [(file.file, file.experts, file.ranks) for file in row.files] == [
        ("style_high.safetensors", {"high_noise": 0.8}, (4,)),
        ("style_low.safetensors", {"low_noise": 0.8}, (2,)),
    ]
    assert "6 tensors: 6 applied" in row.text()
    assert "twin-found" not in report([{"path": str(high)}]).text()


def test_a_row_that_is_off_says_so_and_is_not_read(tmp_path: Path) -> None:
    rows = report([{"path": str(tmp_path / "absent.safetensors"), "enabled": False}]).rows
    assert [row.text() for row in rows] == ["absent: off"]


def test_one_file_on_both_experts_is_told_once_with_both_strengths(tmp_path: Path) -> None:
    file = tiny_loras.save_lora(tmp_path / "plain.safetensors")
    (row,) = report([{"path": str(file), "applies_to": "both", "weight": 1, "low_noise_weight": 0.5}]).rows
    assert [told.experts for told in row.files] == [{"high_noise": 1.0, "low_noise": 0.5}]


def test_a_file_that_acts_nowhere_says_so(tmp_path: Path) -> None:
    file = tiny_loras.save_lora(tmp_path / "plain.safetensors")
    told = report([{"path": str(file), "targets": "all=0"}]).text()
    assert "targets all=0" in told
    assert re.search(r"acts nowhere; rank \d+; \d+ tensors: \d+ fit, and none is used", told)


def test_tensors_that_do_not_apply_are_advice_once_and_a_line_of_their_row(tmp_path: Path) -> None:
    file = tiny_loras.save_lora(tmp_path / "plain.safetensors")
    save_file({**load_file(file), "text_encoder.shared.lora_A.weight": torch.ones(2, 2)}, file)
    loaded = load_stack(LoraStack().add(file), SPEC)
    said = [advice for advice in route(loaded, SPEC).advice if advice.rule == "not-applicable-tensors"]
    assert [(advice.level, advice.text) for advice in said] == [
        (
            "note",
            "1 of its 7 tensors do not apply, the first being text_encoder.shared.lora_A.weight: "
            "belongs to the text encoder, which LoRAs do not change here",
        )
    ]
    assert report([{"path": str(file)}]).text().count("belongs to the text encoder") == 1


def test_a_report_is_plain_data_for_a_host(tmp_path: Path) -> None:
    file = tiny_loras.save_lora(tmp_path / "plain.safetensors")
    told = report([{"path": str(file)}])
    assert json.loads(json.dumps([row.to_dict() for row in told.rows]))[0]["name"] == "plain"
    assert report([]).text() == "no LoRAs"
