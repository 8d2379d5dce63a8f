"""Twins: which file is the other expert's, and which only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_core.errors import LoraFileError
from lora_core.experts import twins
from lora_core.experts.twins import expert_of_path, find_twin, how_found, pairs_among, twin_names, twin_of

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


def put(root: Path, *names: str) -> list[Path]:
    """Make empty files below a folder."""
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


HABITS = {
    "a letter and a word": ("NameH_high_noise.safetensors", "NameL_low_noise.safetensors"),
    "hi and low": ("style_hinoise.safetensors", "style_lownoise.safetensors"),
    "a letter that is not last": ("merged_CB_H_V2.safetensors", "merged_CB_L_V2.safetensors"),
    "capitals run together": ("WANTT2VHIGHNOISEX.safetensors", "WANTT2VLOWNOISEX.safetensors"),
    "another separator": ("style_high_v.1.0.safetensors", "style_low_v1.0.safetensors"),
    "another step": ("char_high-step00002000.safetensors", "char_low-step00001500.safetensors"),
    "a step and none": ("orbit_high.safetensors", "orbit_low_000001500.safetensors"),
    "a word before the name": ("wan_high_mystyle.safetensors", "wan_low_mystyle.safetensors"),
    "sister folders": ("HIGH/char.safetensors", "LOW/char.safetensors"),
    "sister folders of a run": ("x_high_noise_lora/epoch-4.safetensors", "x_low_noise_lora/epoch-4.safetensors"),
    "sister folders and names": ("HIGH/char_high.safetensors", "LOW/char_low.safetensors"),
    "sister folders of other steps": ("x_high/epoch-4.safetensors", "x_low/epoch-6.safetensors"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_the_twins_of_every_habit_find_each_other(habit: str, tmp_path: Path) -> None:
    high, low = put(tmp_path, *HABITS[habit])
    put(tmp_path, "other_low.safetensors", "style.safetensors", "LOW/other.safetensors", "char_low.json")
    assert twin_of(high) == low
    assert twin_of(low) == high
    for path, expert in ((high, "high_noise"), (low, "low_noise")):
        told = expert_of_path(path)
        assert told is not None
        assert told[0] == expert
    listed = [*HABITS[habit], "other_low.safetensors", "LOW/other.safetensors"]
    assert pairs_among(listed) == {HABITS[habit][0]: HABITS[habit][1]}


STRANGERS = {
    "another version": ("style_v1_high.safetensors", "style_v2_low.safetensors"),
    "ordinary words": ("wan_high_kick_v1.safetensors", "wan_low_kick_v1.safetensors"),
    "another name": ("anna_high.safetensors", "anne_low.safetensors"),
    "another rank": ("style_high_rank64.safetensors", "style_low_rank32.safetensors"),
    "another suffix": ("style_high.safetensors", "style_low.pt"),
    "folders that are no sisters": ("A/char.safetensors", "LOW/char.safetensors"),
    "the same expert in sister folders": ("HIGH/char_high.safetensors", "LOW/char_high.safetensors"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_files_that_differ_in_more_are_no_twins(case: str, tmp_path: Path) -> None:
    first, second = put(tmp_path, *STRANGERS[case])
    assert twin_of(first) is None
    assert twin_of(second) is None
    assert pairs_among(STRANGERS[case]) == {}


def test_of_several_other_steps_none_is_taken_and_the_same_step_goes_first(tmp_path: Path) -> None:
    names = ("c_high_000000500.pt", "c_low_000000250.pt", "c_low_000000750.pt", "c_low_000000500.pt")
    high, *_ = put(tmp_path, *names[:3])
    assert twin_of(high) is None
    (same,) = put(tmp_path, names[3])
    assert twin_of(high) == same


def test_a_list_finds_the_twins_that_the_files_find_themselves(tmp_path: Path) -> None:
    names = [f"{folder}/{name}.pt" for folder in ("a", "b") for name in ("char_high_e4", "char_low_e4", "char_low_e6")]
    names += ["x_high/e-4.pt", "x_low/e-6.pt", "z/high.pt", "z/low.pt", "z/low_e9.pt", "w/h_high.pt", "w/h_low.sft"]
    found = {path: twin_of(path) for path in put(tmp_path, *names)}
    told = {path: twin for path, twin in found.items() if twin and expert_of_path(path)[0] == "high_noise"}
    listed = {tmp_path / high: tmp_path / low for high, low in pairs_among(names).items()}
    assert listed == told
    assert len(listed) == 4


def test_one_name_in_many_folders_is_compared_with_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    num_compared = 0

    def counted(path: Path, other: Path) -> int:
        nonlocal num_compared
        num_compared += 1
        return closeness(path, other)

    closeness = twins._closeness
    monkeypatch.setattr(twins, "_closeness", counted)
    names = [f"{folder}/{expert}_noise_model.safetensors" for folder in range(300) for expert in ("high", "low")]
    assert len(pairs_among(names)) == 300
    assert num_compared <= 4 * len(names)


def test_a_twin_says_where_it_was_found(tmp_path: Path) -> None:
    high, low, late, apart = put(tmp_path, "H/a_high.pt", "H/a_low.pt", "H/a_low_000001500.pt", "L/a_low.pt")
    assert how_found(high, low) == "beside it"
    assert how_found(high, late) == "beside it, of another training step or day"
    assert how_found(high, apart) == "in the folder 'L'"


def test_a_name_that_alone_may_mean_anything_is_settled_by_its_twin(tmp_path: Path) -> None:
    (high,) = put(tmp_path, "wan_high_mystyle.safetensors")
    assert expert_of_path(high) is None
    put(tmp_path, "wan_low_mystyle.safetensors")
    assert expert_of_path(high) == ("high_noise", "its name beside 'wan_low_mystyle.safetensors'")


def test_a_folder_tells_the_expert_where_the_name_does_not(tmp_path: Path) -> None:
    tells, ordinary, letter = put(tmp_path, "char_high_noise/epoch-4.pt", "high_quality/a.pt", "x_l/a.pt")
    assert expert_of_path(tells) == ("high_noise", "its folder 'char_high_noise'")
    assert expert_of_path(ordinary) is None
    assert expert_of_path(letter) is None
