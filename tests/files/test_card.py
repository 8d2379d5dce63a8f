"""The card of a LoRA: what file and sidecars tell, in time, and of damaged files that they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from spellings import SPELLINGS, random_pairs, save, spelled

from lora_core.files.advised import Advised
from lora_core.files.card import LoraCard, files_of_card, read_card
from lora_core.files.read import read_lora
from lora_core.files.trained_on import trained_on


def lora(path: Path, metadata: dict[str, str] | None = None, *, dialect: str = "comfyui") -> Path:
    return save(path, spelled(SPELLINGS[dialect], random_pairs(2), 2.0), metadata or {})


def sidecar(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(fields), encoding="utf-8")


@pytest.mark.parametrize("dialect", SPELLINGS)
def test_a_card_tells_of_the_weights_what_reading_all_of_the_file_tells(tmp_path: Path, dialect: str) -> None:
    path = lora(tmp_path / "style_HIGH.safetensors", {"kind": "style", "trigger_words": "neon"}, dialect=dialect)
    card, weights = read_card(path), read_lora(path)
    assert (card.base or None, card.expert, card.expert_source) == (weights.base, weights.expert, weights.expert_source)
    assert (card.ranks, card.trigger_words, card.purpose) == (weights.ranks, ("neon",), "style")
    assert card.size_bytes == path.stat().st_size
    assert card.faults == ()


def test_every_rank_is_told_and_the_base_of_a_large_model(tmp_path: Path) -> None:
    tensors = {}
    for block, rank in enumerate((4, 8, 16)):
        tensors[f"blocks.{block}.self_attn.q.lora_A.weight"] = torch.zeros(rank, 5120)
        tensors[f"blocks.{block}.self_attn.q.lora_B.weight"] = torch.zeros(5120, rank)
    save_file(tensors, tmp_path / "a_wan2.2_t2v_low_noise.safetensors")
    card = read_card(tmp_path / "a_wan2.2_t2v_low_noise.safetensors")
    assert (card.ranks, card.base, card.expert) == ((4, 8, 16), "wan2.2-t2v-a14b", "low_noise")


def test_a_lora_of_another_model_is_told_as_one(tmp_path: Path) -> None:
    names = [f"transformer.single_transformer_blocks.{n}.attn.to_q.lora_{part}.weight" for n in (0, 1) for part in "AB"]
    save_file({name: torch.zeros(4, 4) for name in names}, tmp_path / "a.safetensors")
    assert read_card(tmp_path / "a.safetensors").base == "Flux or HunyuanVideo"


def test_sidecars_add_to_what_the_file_says_and_each_word_stands_once(tmp_path: Path) -> None:
    path = lora(tmp_path / "style.safetensors", {"trigger_words": "Neon", "modelspec.tags": "style"})
    sidecar(tmp_path / "style.json", **{"activation text": "neon, rain", "preferred weight": 0.7, "notes": "mine"})
    sidecar(tmp_path / "style.civitai.info", trainedWords=["rain", "night"], baseModel="Wan", description="<b>mine</b>")
    (tmp_path / "style.preview.png").write_bytes(b"png")
    card = read_card(path)
    assert card.trigger_words == ("Neon", "rain", "night")
    assert card.strength == Advised(0.7, 0.7, 0.7)
    assert card.base_told == "Wan"
    assert card.notes == (("web UI", "mine"),)
    assert card.preview == tmp_path / "style.preview.png"
    assert card.sources["trigger_words"] == "file, web UI, Civitai"


def test_a_card_is_read_again_when_the_file_or_a_sidecar_has_changed_and_else_not(tmp_path: Path) -> None:
    path = lora(tmp_path / "style.safetensors")
    first = read_card(path)
    assert read_card(path) is first
    sidecar(tmp_path / "style.json", **{"activation text": "neon"})
    second = read_card(path)
    assert second.trigger_words == ("neon",)
    sidecar(tmp_path / "style.json", **{"activation text": "other"})
    os.utime(tmp_path / "style.json", ns=(1, 1))
    assert read_card(path).trigger_words == ("other",)
    assert files_of_card(path) == [path, tmp_path / "style.json"]
    os.remove(tmp_path / "style.json")
    assert read_card(path) == first


DAMAGE = {
    b"": "it is empty (0 bytes)",
    b"<!DOCTYPE html>": "it is a web page, not a LoRA file",
    b"version https://git-lfs.github.com/spec/v1": "it is a Git LFS pointer",
    b"\x00" * 7: "it has only 7 bytes",
    b"\xff" * 64: "its header claims",
}


@pytest.mark.parametrize("data", DAMAGE)
def test_the_card_of_a_damaged_file_says_so_without_its_place_and_tells_what_lies_beside(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "style.safetensors"
    path.write_bytes(data)
    sidecar(tmp_path / "style.json", **{"activation text": "neon"})
    card = read_card(path)
    assert card.faults[0].startswith(DAMAGE[data])
    assert str(tmp_path) not in card.faults[0]
    assert card.trigger_words == ("neon",)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "style_low_noise.pt"
    path.write_bytes(b"no pickle at all")
    assert read_card(path) == LoraCard(
        path, 16, expert="low_noise", expert_source="its name 'style_low_noise.pt'", purpose="style"
    )


@pytest.mark.parametrize("dialect", SPELLINGS)
def test_no_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    path = lora(tmp_path / "style.safetensors", dialect=dialect)

    def refuse(*_: object) -> None:
        raise AssertionError("a value was read")

    monkeypatch.setattr("lora_core.files.containers.header.safe_open", refuse)
    monkeypatch.setattr("lora_core.files.containers.header._read_numbers", refuse)
    assert read_card(path).ranks


TRAININGS = {
    "kohya": (
        {
            "ss_num_train_images": "40",
            "ss_steps": "1200",
            "ss_epoch": "10",
            "ss_resolution": "(960, 544)",
            "ss_learning_rate": "0.0002",
            "ss_optimizer": "None",
            "ss_tag_frequency": '{"10_x": {"a man": 3, "rain": 9}}',
        },
        {
            **{"clips": "40", "steps": "1200", "epochs": "10", "resolution": "960, 544", "learning_rate": "0.0002"},
            "captions": "rain (9), a man (3)",
        },
    ),
    "musubi": (
        {"ss_num_train_items": "12", "ss_datasets": '[{"resolution": [640, 480], "batch_size": 2}]'},
        {"clips": "12", "resolution": "640 x 480", "batch_size": "2"},
    ),
    "ai-toolkit": (
        {"training_info": '{"step": 2000, "epoch": 25}', "software": '{"name": "ai-toolkit", "version": "1"}'},
        {"steps": "2000", "epochs": "25", "trainer": "ai-toolkit"},
    ),
    "OneTrainer": (
        {
            "ot_branch": "master",
            "ot_config": '{"epochs": 100, "learning_rate": 0.0003, "optimizer": {"optimizer": "ADAMW"}}',
        },
        {"epochs": "100", "learning_rate": "0.0003", "optimizer": "ADAMW", "trainer": "master"},
    ),
    "nobody": ({"ot_config": "{", "ss_tag_frequency": "[1]", "ss_datasets": "[]", "training_info": "3"}, {}),
}


@pytest.mark.parametrize("trainer", TRAININGS)
def test_the_training_is_told_as_each_trainer_writes_it(trainer: str) -> None:
    metadata, told = TRAININGS[trainer]
    assert trained_on(metadata) == told
