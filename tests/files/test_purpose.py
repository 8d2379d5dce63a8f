"""Purpose: what a LoRA is for, told by its metadata, its names or its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loading import planned
from spellings import save

from lora_core import LoraStack
from lora_core.families.wan.spec import wan_spec
from lora_core.files.purpose import purpose_of
from lora_core.files.read import read_lora

LIGHTNING = "Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1"

NAMES = {
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise": "speed",
    "Wan21_CausVid_14B_T2V_lora_rank32": "speed",
    "neon_style_high_noise": "style",
    "zibbo_character": "character",
    "orbit_motion": "motion",
    "Wan2.2-Fun-A14B-InP-high-noise-HPS2.1": "quality",
    "high_noise_model": "",
}


@pytest.mark.parametrize(("stem", "purpose"), NAMES.items())
def test_the_purpose_is_told_by_words_of_the_name(stem: str, purpose: str) -> None:
    assert purpose_of({}, stem) == purpose


def test_a_file_whose_name_tells_nothing_is_told_by_its_folder() -> None:
    assert purpose_of({}, "high_noise_model", LIGHTNING) == "speed"
    assert purpose_of({}, "neon_style", LIGHTNING) == "style"


@pytest.mark.parametrize("key", ["ss_output_name", "modelspec.title", "name"])
def test_a_title_in_the_metadata_comes_before_the_folder(key: str) -> None:
    assert purpose_of({key: "Orbit motion"}, "high_noise_model", LIGHTNING) == "motion"


def test_what_the_metadata_states_outweighs_all_names() -> None:
    assert purpose_of({"kind": "style", "name": "orbit"}, "lightx2v", LIGHTNING) == "style"


def published(folder: Path, name: str) -> Path:
    leaves = {"lora_down": torch.ones(2, 5120), "lora_up": torch.ones(5120, 2)}
    tensors = {f"blocks.0.self_attn.q.{leaf}.weight": tensor for leaf, tensor in leaves.items()}
    return save(folder / LIGHTNING / f"{name}.safetensors", tensors)


def test_the_published_speed_pair_is_known_by_its_folder_and_wants_few_steps(tmp_path: Path) -> None:
    high, low = published(tmp_path, "high_noise_model"), published(tmp_path, "low_noise_model")
    plan = planned(LoraStack().add(high, low_noise=low), wan_spec("wan2.2-t2v-a14b"))
    assert {routed.weights.purpose for routed in plan.route.all} == {"speed"}
    assert "few-steps-without-speed" not in {advice.rule for advice in plan.advice}


def test_the_folder_is_the_last_clue_to_the_base(tmp_path: Path) -> None:
    assert read_lora(published(tmp_path, "high_noise_model")).base == "wan2.2-t2v-a14b"
    assert read_lora(published(tmp_path, "i2v_high_noise")).base == "wan2.2-i2v-a14b"
