"""The build of the pocket world, end to end, with step counts that make nothing worth looking at."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lora_core.families.cosmos.pocket import cosmos_pocket, cosmos_pocket_lora
from lora_core.families.wan.pocket import POCKET_LORAS, pocket_paths
from lora_core.files.read import read_lora
from lora_core.pocket import build

pytestmark = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="the build trains with torch.optim.Muon, of torch 2.9"
)


def test_stages_that_are_named_run_on_what_others_have_left(tmp_path: Path) -> None:
    """A model is trained on the VAE and the text encoder of the stages before it."""
    named = ("vae", "decoder", "parts", "small_trunk")
    build.main(["--work", str(tmp_path), "--quick", "--threads", "1", "--only", *named])
    stages = build.stages_of(build.quick_config())
    assert {name for name, stage in stages.items() if (tmp_path / stage.leaves).exists()} == set(named)


@pytest.mark.skipif(not os.environ.get("WHOLE_BUILD"), reason="slow; `make prove-build`")
def test_every_stage_runs_and_leaves_files_in_native_naming(tmp_path: Path) -> None:
    build.main(["--work", str(tmp_path), "--quick"])
    paths = pocket_paths(tmp_path / "assets")
    assert json.loads(paths.quality.read_text())["rows"]
    with safe_open(paths.high_noise, framework="pt") as file:
        assert {"blocks.0.self_attn.q.weight", "head.head.weight"} <= set(file.keys())
        assert json.loads(file.metadata()["config"]) == {"transformer": {"num_heads": 4, "text_dim": 64}}
    with safe_open(paths.vae, framework="pt") as file:
        assert {"encoder.conv1.weight", "decoder.head.2.weight", "conv1.weight", "conv2.weight"} <= set(file.keys())
    with safe_open(cosmos_pocket(tmp_path / "assets"), framework="pt") as file:
        assert {"blocks.0.self_attn.q_proj.weight", "final_layer.linear.weight"} <= set(file.keys())
        assert json.loads(file.metadata()["config"]) == {"transformer": {"rope_scale": [1.0, 1.0, 1.0]}}
    assert len(json.loads((tmp_path / "assets" / "cosmos_quality.json").read_text())["rows"]) == 7
    told = json.loads((tmp_path / "assets" / "pocket_lm" / "quality.json").read_text())["rows"]
    assert {row["by"] for row in told} >= {"pocket-lm", "dictionary"}
    assert read_lora(cosmos_pocket_lora(tmp_path / "assets")).dialect == "nvidia"
    for name, experts in POCKET_LORAS.items():
        for side in experts:
            with safe_open(paths.loras / f"{name}_{side}.safetensors", framework="pt") as file:
                assert all(key.startswith("diffusion_model.blocks.") for key in file.keys())  # noqa: SIM118  # no dict
