"""Laziness: a file is mapped, not loaded; its header is enough for a report, its values are read when they are used."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from spellings import SPELLINGS, random_pairs, save, spelled

from lora_core.errors import LoraFileError
from lora_core.families.wan.spec import wan_spec
from lora_core.files import read, report
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora
from lora_core.files.weights import LazyDeltas

POCKET = wan_spec("wan-pocket")
Q = "blocks.0.self_attn.q"


def large_file(path: Path, num_blocks: int = 40, rank: int = 64) -> Path:
    """Write a LoRA of Wan 14B whose values are a hole in the file: of 600 MB, and of no weight on the disk."""
    header, position = {}, 0
    sizes = {f"{attention}.{part}": (5120, 5120) for attention in ("self_attn", "cross_attn") for part in "qkvo"}
    sizes |= {"ffn.0": (13824, 5120), "ffn.2": (5120, 13824)}
    for block in range(num_blocks):
        for module, (outputs, inputs) in sizes.items():
            for leaf, shape in (("lora_down", (rank, inputs)), ("lora_up", (outputs, rank))):
                end = position + 2 * shape[0] * shape[1]
                name = f"diffusion_model.blocks.{block}.{module}.{leaf}.weight"
                header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (position, end)}
                position = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return path


_MEASURE = """
import resource, sys, time
import torch
from lora_core.files.report import inspect_lora
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
report = inspect_lora(sys.argv[1])
print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
assert report.num_targets == 400, report.num_targets
"""


@pytest.mark.skipif(sys.platform == "win32", reason="measures with the resource module of POSIX")
def test_a_large_file_is_inspected_by_its_header_alone(tmp_path: Path) -> None:
    path = large_file(tmp_path / "large_high_noise.safetensors")
    assert path.stat().st_size > 600e6
    command = [sys.executable, "-c", _MEASURE, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    seconds, megabytes = map(float, output.split())
    assert seconds < 0.6  # 0.3 s is asked for; this is a guard against reading values, not a benchmark
    assert megabytes < 50


def test_a_large_file_is_read_without_its_values(tmp_path: Path) -> None:
    path = large_file(tmp_path / "x.safetensors", num_blocks=6)
    assert path.stat().st_size > read.MAX_EAGER_BYTES
    weights = read_lora(path)
    assert isinstance(weights.deltas, LazyDeltas)
    assert repr(weights.deltas) == "LazyDeltas(60 targets, 0 read)"
    assert weights.ranks == (64,)
    assert weights.num_bytes == pytest.approx(path.stat().st_size, rel=1e-3)
    assert Q in weights.deltas
    assert "blocks.0" not in weights.deltas
    assert weights.deltas.get("blocks.0") is None
    assert repr(weights.deltas) == "LazyDeltas(60 targets, 0 read)"
    assert weights.deltas[Q] is weights.deltas[Q]
    assert repr(weights.deltas) == "LazyDeltas(60 targets, 1 read)"


def test_values_of_a_large_file_are_checked_when_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_EAGER_BYTES", 0)
    monkeypatch.setattr(report, "MAX_EAGER_BYTES", 0)
    tensors = spelled(SPELLINGS["comfyui"], random_pairs(4), 2.0)
    name = f"diffusion_model.{Q}.lora_up.weight"
    tensors[name][3, 1] = torch.nan
    path = save(tmp_path / "x.safetensors", tensors)
    assert inspect_lora(path, spec=POCKET).faults == ()
    weights = read_lora(path, spec=POCKET)
    assert weights.deltas["blocks.3.ffn.0"].rank == 4
    with pytest.raises(LoraFileError) as caught:
        weights.deltas[Q]
    assert str(caught.value).startswith(f"{path}: tensor {name!r} has 1 of 512 values that are NaN or infinite")


def test_a_look_at_every_delta_keeps_none_that_nobody_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MAX_EAGER_BYTES", 0)
    deltas = read_lora(large_file(tmp_path / "large.safetensors", num_blocks=1, rank=4)).deltas
    assert isinstance(deltas, LazyDeltas)
    kept = deltas[Q]
    streamed = dict(deltas.stream())
    assert list(streamed) == list(deltas)
    assert streamed[Q] is kept
    assert repr(deltas) == "LazyDeltas(10 targets, 1 read)"


def test_tensors_are_views_of_the_mapped_file(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", spelled(SPELLINGS["comfyui"], random_pairs(4), 2.0))
    delta = read_lora(path, spec=POCKET).deltas[Q]
    path.unlink()  # what is mapped stays readable on POSIX
    assert delta.dense().isfinite().all()


def test_deltas_go_to_the_device_that_is_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", spelled(SPELLINGS["comfyui"], random_pairs(4), 2.0))
    delta = read_lora(path, spec=POCKET, device="meta").deltas[Q]
    assert {tensor.device.type for tensor in delta.tensors()} == {"meta"}


def test_a_report_tells_what_a_file_is(tmp_path: Path) -> None:
    metadata = {"trigger_words": "zibbo, neon", "ss_steps": "1200"}
    tensors = spelled(SPELLINGS["musubi-tuner"], random_pairs(4), 2.0)
    found = inspect_lora(save(tmp_path / "style_HIGH.safetensors", tensors, metadata), spec=POCKET)
    assert (found.dialect, found.expert, found.num_targets, found.num_blocks) == ("kohya", "high_noise", 11, 4)
    assert (found.kinds, found.ranks, found.scales) == ({"lora": 11}, {4: 11}, {0.5: 11})
    assert found.faults == ()
    assert found.modules["ffn.0"] == found.modules["time_projection.1"] == 1
    lines = dict(line.split(maxsplit=1) for line in found.text().splitlines() if not line[0].isdigit())
    assert lines["expert"] == "high_noise (its name 'style_HIGH.safetensors')"
    assert lines["rank"] == "4"
    assert found.text().splitlines()[-1] == "33 tensors: 33 applied"
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["account"]["counts"]["applied"] == 33
    assert plain["metadata"]["ss_steps"] == "1200"
    assert plain["account"]["tensors"][0]["status"] == "applied"


def test_deltas_come_in_the_order_of_the_models_targets(tmp_path: Path) -> None:
    pairs = dict(sorted(random_pairs(4).items(), reverse=True))
    path = save(tmp_path / "x.pt", spelled(SPELLINGS["comfyui"], pairs, 2.0))
    for spec in (POCKET, None):
        weights = read_lora(path, spec=spec)
        assert list(weights.deltas) == [target for target in POCKET.shapes if target in pairs]
        assert next(iter(weights.account)).target == "time_projection.1"  # the account keeps the file's
    modules = list(inspect_lora(path, spec=POCKET).modules)
    assert modules.index("self_attn.q") < modules.index("self_attn.o") < modules.index("ffn.2")


def test_reading_needs_neither_diffusers_nor_transformers() -> None:
    code = "import sys, lora_core.files; print([m for m in ('diffusers', 'transformers', 'peft') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert output.strip() == "[]"
