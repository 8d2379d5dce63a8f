"""The keys of a tuning are read, checked, and refused where they would do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_core.errors import LoraCoreError, TrainingError
from lora_core.refiner.sources import find_language_source
from lora_core.refiner.tuning.config import make_tune_config, read_tune_config
from lora_core.refiner.tuning.folder import TuneFolder
from lora_core.refiner.tuning.inputs import check_inputs, inputs_of, write_inputs


def test_a_configuration_reads_back_as_it_was_written(tmp_path: Path) -> None:
    config = make_tune_config({"rows": "rows.jsonl", "method": "qlora", "targets": ["q_proj"], "lr": 1e-4})
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert read_tune_config(tmp_path / "config.toml") == config


def test_files_are_looked_for_from_where_the_configuration_lies(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('rows = "data/rows.jsonl"\nmodel = "models/lm"\n')
    config = read_tune_config(tmp_path / "config.toml", ["steps=7", "model=pocket-lm"], lr=0.5)
    assert (config.rows, config.steps, config.lr) == (str(tmp_path / "data" / "rows.jsonl"), 7, 0.5)
    assert config.model == "pocket-lm"


def test_a_system_prompt_is_a_file_beside_the_configuration_a_name_or_a_text(tmp_path: Path) -> None:
    (tmp_path / "how to.txt").write_text("Write more.")

    def system(given: str) -> str:
        (tmp_path / "config.toml").write_text(f'rows = "rows.jsonl"\nsystem = "{given}"\n')
        return read_tune_config(tmp_path / "config.toml").system

    assert system("how to.txt") == str(tmp_path / "how to.txt")
    assert system("gone.txt") == str(tmp_path / "gone.txt")
    assert system("cosmos") == "cosmos"
    assert system("Write more.") == "Write more."


def test_a_tilde_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_tune_config({"rows": "~/rows.jsonl"}).rows == str(tmp_path / "rows.jsonl")


def test_other_words_under_the_same_name_are_another_tuning(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    (tmp_path / "system.txt").write_text("Write more.")
    config = make_tune_config({"rows": str(tmp_path / "rows.jsonl"), "system": str(tmp_path / "system.txt")})
    source = find_language_source("pocket-lm")
    write_inputs(inputs_of(config, source), tmp_path / "inputs.json")
    check_inputs(inputs_of(config, source), tmp_path / "inputs.json")
    (tmp_path / "system.txt").write_text("Write less.")
    with pytest.raises(TrainingError, match="what the training here began with has changed: system"):
        check_inputs(inputs_of(config, source), tmp_path / "inputs.json")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stepz": 1}, r"unknown key 'stepz' \(nearest: 'steps'\)"),
        ({"method": "dora"}, "unknown value 'dora'"),
        ({"steps": 0}, "0 is out of range"),
        ({"steps": 1.5}, "1.5 is not a whole number"),
        ({"lr": 0.0}, "0 teaches nothing"),
        ({"dropout": 1.0}, "1 is out of range"),
        ({"weight_decay": -1.0}, "-1 is negative"),
        ({"method": "full", "rank": 8}, r"rank: would do nothing without method = lora\. Leave it out, or give"),
        ({"validate_every": 5}, "validate_every: would do nothing without held_out_rows"),
        ({"keep_checkpoints": 5}, "keep_checkpoints: would do nothing without checkpoint_every"),
        ({"rehearsal_share": 0.5}, "do nothing without each other"),
        ({"warmup_steps": 150}, "150 of 150 steps"),
        ({"precision": "bfloat16"}, "bfloat16 would be the adapters' too"),
        ({"targets": []}, "targets: there are none"),
        ({"name": "a/b"}, "is no name for files"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        make_tune_config({"rows": "rows.jsonl", **given})


def test_rows_have_to_be_given() -> None:
    with pytest.raises(TrainingError, match=r"no rows .*Give a file of rows"):
        make_tune_config({"steps": 3})


def test_a_folder_of_another_tuning_is_refused(tmp_path: Path) -> None:
    config = make_tune_config({"rows": "rows.jsonl"})
    folder = TuneFolder(tmp_path / "out")
    with pytest.raises(LoraCoreError, match="there is no training here to go on with"):
        folder.check(config, resume=True)
    folder.begin(config)
    with pytest.raises(LoraCoreError, match="there is a training here already"):
        folder.check(config, resume=False)
    folder.check(make_tune_config({"rows": "rows.jsonl", "steps": 200, "checkpoint_every": 5}), resume=True)
    other = make_tune_config({"rows": "rows.jsonl", "lr": 0.5, "steps": 10})
    with pytest.raises(
        TrainingError, match=r"other settings: steps 150 there, 10 here; lr 0.001 there, 0.5 here\. Go on"
    ):
        folder.check(other, resume=True)
