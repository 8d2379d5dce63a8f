"""The words that the LoRAs of a stack ask for, whether its files were read or only found."""

from __future__ import annotations

from pathlib import Path

from spellings import SPELLINGS, random_pairs, save, spelled

from lora_core.stack.entry import LoraEntry
from lora_core.stack.stack import LoraStack
from lora_core.stack.trigger_words import words_of_stack


def lora(path: Path, words: str) -> Path:
    return save(path, spelled(SPELLINGS["comfyui"], random_pairs(2), 2.0), {"trigger_words": words})


def test_both_files_of_a_pair_are_asked_and_rows_that_are_off_are_not(tmp_path: Path) -> None:
    high, low = lora(tmp_path / "a_high_noise.safetensors", "zibbo"), lora(tmp_path / "other.safetensors", "sks, Zibbo")
    off = lora(tmp_path / "off.safetensors", "ohwx")
    stack = LoraStack().add(high, low_noise=low).add(LoraEntry("off", off, enabled=False))
    assert words_of_stack(stack) == ("zibbo", "sks")
