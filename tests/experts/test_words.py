"""The expert that a name tells: people's and trainers' habits, and the names that only seem to tell one."""

from __future__ import annotations

import pytest

from lora_core.experts.words import expert_in_name

HIGH = [
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise",
    "high_noise_model",
    "Wan22-HighNoise-style",
    "WAN22_MyStyle_HIGH",
    "mystyle_HN_v2",
    "orbit_high_000001500",
    "style_h",
    "LowPoly_HIGH",
    "low_poly_style_high",
    "wan_high_noise_high_detail",
    "style_hinoise",
    "Style-HiNoise-v2",
    "char_high-step00001000",
    "x_HIGH_step_2000",
    "style_HIGH_rank64",
    "style_high_r32",
    "style_high_e20",
    "style_high_fp8",
    "my_lora_high_lora_v2",
    "WANTT2VHIGHNOISEX",
    "NameH_high_noise",
    "merged_CB_H_V2",
    "wan22_HIGH_MyName_v3",
    "Wan22_HIGH_t2v_14b",
    "my.style.high.noise",
    "style (high noise)",
    "HIGH",
]
LOW = [
    "wan2.2_i2v_A14b_low_noise_lora_rank64_lightx2v_4step_1022",
    "style-lownoise",
    "MyStyleLOW",
    "mystyle-ln",
    "style_l_v1.2",
    "high_quality_low_noise",
    "style_lonoise",
    "char_low-step00001000",
    "style_LOW_rank64",
    "WANTT2VLOWNOISEX",
    "NameL_low_noise",
    "merged_CB_L_V2",
    "slow_motion_low",
    "wan22_LOW_MyName_v3",
    "low-noise-epoch-4",
]
NONE = [
    "high_quality_v2",
    "low_light_portraits",
    "highway",
    "slow_motion",
    "hl_something",
    "h264_look",
    "style_high_low",
    "wan2.1_style",
    "wan_high_kick_v1",
    "High_Fidelity_Realism_wan21",
    "thigh_high",
    "sky_high_v2",
    "High_Resolution",
    "low_rank_adapter",
    "slow_noise",
    "glow_noise_pattern",
    "hi_there",
    "highlights_v2",
    "shallow_focus",
    "L_for_lora",
    "x_low_res",
    "low_step_count",
]


@pytest.mark.parametrize("stem", HIGH)
def test_names_that_tell_the_high_noise_expert(stem: str) -> None:
    assert expert_in_name(stem) == "high_noise"


@pytest.mark.parametrize("stem", LOW)
def test_names_that_tell_the_low_noise_expert(stem: str) -> None:
    assert expert_in_name(stem) == "low_noise"


@pytest.mark.parametrize("stem", NONE)
def test_names_that_tell_neither(stem: str) -> None:
    assert expert_in_name(stem) is None
