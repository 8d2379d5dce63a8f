"""The configuration of a training: presets, single keys, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import TrainingError
from lora_core.training.config import all_keys, make_config, parse_settings, read_config
from lora_core.training.presets import EMBEDDED_PRESETS, PRESETS

BASE = {"clips": "clips", "name": "mine"}


@pytest.mark.parametrize("model", ["pocket", "/models/wan"])
@pytest.mark.parametrize("preset", ["", *PRESETS])
def test_a_configuration_reads_back_from_the_file_it_is_written_to(tmp_path: Path, preset: str, model: str) -> None:
    config = make_config({**BASE, "preset": preset, "model": model})
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert read_config(tmp_path / "config.toml") == config


def test_a_preset_gives_way_to_single_keys_and_they_to_the_shell(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'clips = "x"\nname = "n"\npreset = "style"\nmodel = "other"\nrank = 64\nlr = 5e-5\n'
    )
    config = read_config(tmp_path / "c.toml", ["rank=48", "targets=attention"], steps=7)
    assert (config.adapter.rank, config.learning.lr, config.learning.steps) == (48, 5e-5, 7)
    assert config.learning.accumulation == PRESETS["style"]["accumulation"]
    assert config.adapter.targets == ("attention",)


def test_presets_have_known_keys_only() -> None:
    for table in (PRESETS, EMBEDDED_PRESETS):
        for values in table.values():
            assert set(values) <= set(all_keys())


def test_alpha_is_half_the_rank_unless_it_is_given() -> None:
    assert make_config({**BASE, "rank": 24}).adapter.used_alpha == 12
    assert make_config({**BASE, "rank": 24, "alpha": 24}).adapter.used_alpha == 24


def test_a_training_is_found_again_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "vae.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    values = make_config({"clips": "clips", "name": "n", "vae": "vae.safetensors", "model": "pocket"}).values()
    assert (values["clips"], values["vae"]) == (str(tmp_path / "clips"), str(tmp_path / "vae.safetensors"))
    assert (values["model"], values["tokenizer"]) == ("pocket", "")


def test_a_files_name_goes_before_the_folders_and_the_shells_before_the_files(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('clips = "x"\nname = "mine"\n')
    assert read_config(tmp_path / "c.toml", default_name="out").name == "mine"
    assert read_config(tmp_path / "c.toml", default_name="out", name="other").name == "other"
    (tmp_path / "c.toml").write_text('clips = "x"\n')
    assert read_config(tmp_path / "c.toml", default_name="out").name == "out"


def test_paths_in_a_file_are_taken_from_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "c.toml").write_text('clips = "clips"\nname = "n"\n')
    assert read_config(tmp_path / "c.toml").folder == tmp_path / "clips"


def test_a_tilde_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "c.toml").write_text('clips = "~/clips"\nname = "n"\nmodel = "~/model"\n')
    config = read_config(tmp_path / "c.toml")
    assert (config.folder, config.model.model) == (tmp_path / "clips", str(tmp_path / "model"))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"rnak": 3}, "training: unknown key 'rnak' (nearest: 'rank')."),
    ({"lr": 0}, "lr: 0 teaches nothing (above 0, usually 1e-5 to 1e-3)."),
    ({"lr": -1e-4}, "lr: -0.0001 teaches nothing (above 0, usually 1e-5 to 1e-3)."),
    ({"lr": "fast"}, "lr: 'fast' is not a number."),
    ({"steps": 0}, "steps: 0 is out of range (at least 1)."),
    ({"steps": 2.5}, "steps: 2.5 is not a whole number."),
    ({"flip": 1}, "flip: 1 is not true or false."),
    ({"method": "lroa"}, "method: unknown value 'lroa' (nearest: 'lora')."),
    ({"preset": "stile"}, "preset: unknown value 'stile' (nearest: 'style')."),
    ({"optimizer": "adam"}, "optimizer: unknown value 'adam' (nearest: 'adamw')."),
    ({"name": "a/b"}, "name: 'a/b' is no name for files (a word such as my_style, without slashes)."),
    ({"high_share": 1.0}, "high_share: 1 leaves an expert no step (above 0 and below 1, or experts = high or low)."),
    (
        {"teacher_steps": 31, "objective": "speed"},
        "teacher_steps: 31 teacher steps do not pass through the student's 6",
    ),
    (
        {"method": "full", "rank": 8},
        "rank: would do nothing with method = full. Leave it out, or set method = lora.",
    ),
    ({"base": "int8"}, "base: would do nothing without method = qlora. Leave it out, or set method = qlora."),
    ({"teacher_cfg": 4.0}, "teacher_cfg: would do nothing with an objective that learns from the clips themselves."),
    (
        {"preview_prompts": ["a"]},
        "preview_prompts: would do nothing without previews. Leave it out, or set preview_every",
    ),
    ({"targets": [1]}, 'targets: [1] is no list of texts (["…", "…"]).'),
]


@pytest.mark.parametrize(("given", "text"), BAD, ids=[text.split(":")[0] + str(i) for i, (_, text) in enumerate(BAD)])
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(TrainingError) as caught:
        make_config({**BASE, **given})
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("blocks=0", "0"),
        ("background=808080", "808080"),
        ('trigger="a = b"', "a = b"),
        ("trigger=true", "true"),
        ("preview_prompts=a ball, which rolls", "a ball, which rolls"),
        ('targets=["self_attn", "ffn"]', ["self_attn", "ffn"]),
        ("rank=4", 4),
        ("lr=1e-3", 1e-3),
        ("flip=true", True),
    ],
)
def test_texts_from_the_shell_need_no_quotation_marks(text: str, value: object) -> None:
    (found,) = parse_settings([text]).values()
    assert found == value
    assert type(found) is type(value)


def test_a_setting_that_is_set_twice_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"--set: 'rank' is set twice\. Leave one out\."):
        parse_settings(["rank=4", " rank =8"])


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"--set: 'rank' sets nothing \(KEY=VALUE\)"):
        parse_settings(["rank"])


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("rank: 32")
    with pytest.raises(TrainingError, match=r"c\.toml: is no TOML"):
        read_config(tmp_path / "c.toml")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


def test_clips_are_asked_for() -> None:
    with pytest.raises(TrainingError, match="no clips"):
        make_config({"name": "n"})
