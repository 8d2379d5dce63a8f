"""The expert of a file: what its metadata, name and place tell, and which of them outweighs which."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spellings import SPELLINGS, random_pairs, save, spelled

from lora_core.families.wan.family import WAN
from lora_core.families.wan.spec import wan_spec
from lora_core.files.expert import expert_in_metadata
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora

POCKET = wan_spec("wan-pocket")


@pytest.mark.parametrize(
    ("metadata", "expert"),
    [
        ({"expert": "high_noise"}, "high_noise"),
        ({"expert": "low_noise"}, "low_noise"),
        ({"expert": "both"}, None),
        ({"modelspec.timestep_range": "875,1000"}, "high_noise"),
        ({"modelspec.timestep_range": "0,900"}, "low_noise"),
        ({"modelspec.timestep_range": "0,1000"}, None),
        ({"modelspec.timestep_range": "?"}, None),
        ({}, None),
    ],
)
def test_the_expert_is_told_by_metadata(metadata: dict[str, str], expert: str | None) -> None:
    found = expert_in_metadata(metadata, WAN)
    assert (found[0] if found else None) == expert


def hint(path: Path, metadata: dict[str, str]) -> tuple[str | None, str]:
    path = save(path, spelled(SPELLINGS["comfyui"], random_pairs(2), 2.0), metadata)
    weights = read_lora(path, spec=POCKET)
    return weights.expert, weights.expert_source


def test_what_a_file_states_outweighs_its_name_which_outweighs_what_it_was_trained_on(tmp_path: Path) -> None:
    trained_on = {"ss_sd_model_name": "wan2.2_t2v_low_noise_14B_fp16.safetensors"}
    assert hint(tmp_path / "a_HIGH.safetensors", {"expert": "low_noise"}) == ("low_noise", "metadata 'expert'")
    assert hint(tmp_path / "a_HIGH.safetensors", trained_on) == ("high_noise", "its name 'a_HIGH.safetensors'")
    expert, source = hint(tmp_path / "a.safetensors", trained_on)
    assert (expert, source) == ("low_noise", f"metadata 'ss_sd_model_name' '{trained_on['ss_sd_model_name']}'")
    assert hint(tmp_path / "a.safetensors", {}) == (None, "")


def notes(path: Path, metadata: dict[str, str]) -> tuple[str, ...]:
    return read_lora(save(path, spelled(SPELLINGS["comfyui"], random_pairs(2), 2.0), metadata), spec=POCKET).notes


def test_a_lora_trained_on_all_timesteps_from_the_low_checkpoint_is_for_both(tmp_path: Path) -> None:
    """musubi-tuner writes the name of `--dit` also where `--dit_high_noise` was trained in the same run."""
    trained = {"ss_sd_model_name": "wan2.2_t2v_low_noise_14B_fp16.safetensors", "modelspec.timestep_range": "0,1000"}
    source = "metadata 'modelspec.timestep_range' 0 to 1000"
    assert hint(tmp_path / "a.safetensors", trained) == ("both", source)
    assert notes(tmp_path / "a.safetensors", trained) == (
        f"taken for both experts' by {source}, although metadata 'ss_sd_model_name' '{trained['ss_sd_model_name']}'",
    )
    assert hint(tmp_path / "a_LOW.safetensors", trained)[0] == "low_noise"
    assert hint(tmp_path / "a.safetensors", trained | {"modelspec.timestep_range": "0,900"})[0] == "low_noise"


def test_a_guess_says_what_it_rests_on(tmp_path: Path) -> None:
    assert notes(tmp_path / "a_HIGH.safetensors", {}) == ()
    assert notes(tmp_path / "a.safetensors", {"ss_output_name": "char_high"}) == (
        "taken for the high_noise expert's by metadata 'ss_output_name' 'char_high' alone. "
        "Set applies_to if that is wrong",
    )
    folder = tmp_path / "char_low_noise"
    folder.mkdir()
    assert notes(folder / "epoch-4.safetensors", {}) == (
        "taken for the low_noise expert's by its folder 'char_low_noise' alone. Set applies_to if that is wrong",
    )


BASES = {
    "x": (1536, {}, "wan2.1-t2v-1.3b"),
    "y": (3072, {}, "wan2.2-ti2v-5b"),
    "style": (5120, {}, "wan-14b"),
    "style_high_noise": (5120, {}, "wan2.2-14b"),
    "wan22_t2v_style_HIGH": (5120, {}, "wan2.2-t2v-a14b"),
    "Wan2.2-I2V-A14B-style": (5120, {}, "wan2.2-i2v-a14b"),
    "wan2.1_style": (5120, {}, "wan2.1-14b"),
    "Wan21_I2V_style": (5120, {}, "wan2.1-i2v-14b"),
    "from_metadata": (5120, {"ss_sd_model_name": "wan2.2_t2v_high_noise_14B_fp16"}, "wan2.2-t2v-a14b"),
    "unknown": (640, {}, None),
}


@pytest.mark.parametrize("stem", BASES)
def test_the_base_is_told_by_shapes_and_names(stem: str, tmp_path: Path) -> None:
    width, metadata, base = BASES[stem]
    module = "diffusion_model.blocks.0.self_attn.q"
    tensors = {f"{module}.lora_A.weight": torch.ones(1, width), f"{module}.lora_B.weight": torch.ones(width, 1)}
    path = save(tmp_path / f"{stem}.safetensors", tensors, metadata)
    assert read_lora(path).base == inspect_lora(path).base == base


def test_the_image_branch_tells_wan_2_1_i2v_also_where_it_does_not_apply(tmp_path: Path) -> None:
    tensors = {}
    for module in ("self_attn.q", "cross_attn.k_img"):
        name = f"diffusion_model.blocks.0.{module}"
        tensors |= {f"{name}.lora_A.weight": torch.ones(1, 5120), f"{name}.lora_B.weight": torch.ones(5120, 1)}
    path = save(tmp_path / "x.safetensors", tensors)
    for spec in (None, wan_spec("wan2.2-t2v-a14b"), wan_spec("wan2.1-i2v-14b")):
        assert read_lora(path, spec=spec).base == "wan2.1-i2v-14b"
