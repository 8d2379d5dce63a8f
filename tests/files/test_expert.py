"""Expert and twin: what a file's name and metadata tell of the expert it is for, and where the other's file is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spellings import SPELLINGS, random_pairs, save, spelled

from lora_core.errors import LoraFileError
from lora_core.experts import expert_in_name, find_twin, twin_names
from lora_core.families.wan.family import WAN
from lora_core.families.wan.spec import wan_spec
from lora_core.files.expert import expert_in_metadata
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora

POCKET = wan_spec("wan-pocket")

NAMES = {
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise": "high_noise",
    "wan2.2_i2v_A14b_low_noise_lora_rank64_lightx2v_4step_1022": "low_noise",
    "high_noise_model": "high_noise",
    "Wan22-HighNoise-style": "high_noise",
    "style-lownoise": "low_noise",
    "WAN22_MyStyle_HIGH": "high_noise",
    "MyStyleLOW": "low_noise",
    "mystyle_HN_v2": "high_noise",
    "mystyle-ln": "low_noise",
    "orbit_high_000001500": "high_noise",
    "style_h": "high_noise",
    "style_l_v1.2": "low_noise",
    "LowPoly_HIGH": "high_noise",
    "low_poly_style_high": "high_noise",
    "high_quality_low_noise": "low_noise",
    "wan_high_noise_high_detail": "high_noise",
    "high_quality_v2": None,
    "low_light_portraits": None,
    "highway": None,
    "slow_motion": None,
    "hl_something": None,
    "h264_look": None,
    "style_high_low": None,
    "wan2.1_style": None,
}


@pytest.mark.parametrize(("stem", "expert"), NAMES.items())
def test_the_expert_is_told_by_words_of_the_name(stem: str, expert: str | None) -> None:
    assert expert_in_name(stem) == expert


TWINS = {
    "style_high_noise.safetensors": "style_low_noise.safetensors",
    "WAN22_Style_LOW_v2.safetensors": "WAN22_Style_HIGH_v2.safetensors",
    "Style-HighNoise.safetensors": "Style-LowNoise.safetensors",
    "style_lownoise.pt": "style_highnoise.pt",
    "Style_HN.safetensors": "Style_LN.safetensors",
    "style_ln_000002000.safetensors": "style_hn_000002000.safetensors",
    "style_H.safetensors": "style_L.safetensors",
    "high_quality_low.safetensors": "high_quality_high.safetensors",
    "wan2.2_t2v_A14b_high_noise_lora_high.safetensors": "wan2.2_t2v_A14b_low_noise_lora_high.safetensors",
}


@pytest.mark.parametrize(("name", "twin"), TWINS.items())
def test_the_twin_has_the_other_word_in_the_same_case(name: str, twin: str, tmp_path: Path) -> None:
    for file in (name, twin, "other_low.safetensors"):
        (tmp_path / file).touch()
    assert find_twin(tmp_path / name) == tmp_path / twin
    assert find_twin(str(tmp_path / twin)).name.lower() == name.lower()


def test_a_twin_in_another_case_is_found(tmp_path: Path) -> None:
    for name in ("Style_HIGH.safetensors", "style_low.safetensors"):
        (tmp_path / name).touch()
    assert find_twin(tmp_path / "Style_HIGH.safetensors").name == "style_low.safetensors"


def test_where_a_name_has_two_words_each_is_tried(tmp_path: Path) -> None:
    (tmp_path / "high_low.safetensors").touch()
    (tmp_path / "high_high.safetensors").touch()
    assert find_twin(tmp_path / "high_low.safetensors").name == "high_high.safetensors"


def test_a_missing_twin_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "style_high_noise.safetensors"
    with pytest.raises(LoraFileError) as caught:
        find_twin(path)
    assert str(caught.value) == (
        f"{path}: the other expert's file is not beside it (looked for style_low_noise.safetensors). "
        "Put it there under that name, or name the file yourself."
    )


def test_a_name_that_tells_no_expert_has_no_twin(tmp_path: Path) -> None:
    with pytest.raises(LoraFileError) as caught:
        find_twin(tmp_path / "style.safetensors")
    assert str(caught.value) == (
        f"{tmp_path / 'style.safetensors'}: its name does not tell its expert, so it has no twin "
        "(high_noise/low_noise, HIGH/LOW, HN/LN or a final _h/_l). Name the other expert's file yourself."
    )
    assert twin_names(tmp_path / "high_quality.safetensors") == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoraFileError, match="nowhere: the folder cannot be read"):
        find_twin(tmp_path / "nowhere" / "style_high.safetensors")


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
