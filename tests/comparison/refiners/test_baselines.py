"""The ways without tuning, the questions that everything is asked, and the bytes that are counted."""

from __future__ import annotations

from pathlib import Path

import torch
from comparison.refiners.small_refiners import keys

from lora_core.comparison.refiners.asking import all_measured, answers_of_function
from lora_core.comparison.refiners.baselines import BASELINES, nearest_caption, planned_baselines
from lora_core.comparison.refiners.config import make_refiners_config
from lora_core.comparison.refiners.folder import RefinersFolder
from lora_core.comparison.refiners.questions import DRAWN, question_files, read_questions, write_questions
from lora_core.comparison.refiners.tensor_bytes import tensor_bytes
from lora_core.pocket.requests.rows import read_request_rows, request_rows
from lora_core.pocket.requests.slots import slots_of
from lora_core.pocket.scenes import held_out_words


def test_no_request_is_in_two_sets(tmp_path: Path) -> None:
    folder = RefinersFolder(tmp_path)
    write_questions(make_refiners_config(keys(num_questions=12)).settings, folder)
    prompts = [row.prompt for file in question_files(folder).values() for row in read_request_rows(file)]
    assert len(prompts) == len(set(prompts))
    assert set(read_questions(folder)) == set(DRAWN)


def test_mixtures_held_out_are_in_no_row_that_is_learnt(tmp_path: Path) -> None:
    folder, held_out = RefinersFolder(tmp_path), set(held_out_words())
    write_questions(make_refiners_config(keys(num_questions=12, num_rows=40)).settings, folder)

    def mixtures(file: Path) -> set[tuple[str, str, str, str]]:
        slots = [row.slots for row in read_request_rows(file) if row.kind == "ordinary"]
        return {(s.colour, s.shape, s.motion, s.background) for s in slots}

    assert mixtures(folder.questions("held_out")) <= held_out
    assert not mixtures(folder.rows) & held_out


def test_the_nearest_caption_is_that_of_the_request_most_alike() -> None:
    rows = request_rows(3, 30)
    assert all(nearest_caption(row.prompt, rows) == row.completion for row in rows)
    assert nearest_caption(f"{rows[7].prompt}!", rows) == rows[7].completion


def test_the_raw_prompt_is_right_where_it_is_a_caption_already() -> None:
    rows = request_rows(5, 40)
    measured, texts, _ = all_measured({"known": rows}, lambda prompts: answers_of_function(str, prompts))
    assert texts["known"] == [row.prompt for row in rows]
    assert measured["known"]["identity"] == 1.0
    assert measured["known"]["exact"] == sum(row.prompt == row.completion for row in rows) / 40
    assert all(slots_of(row.completion) for row in rows)


def test_only_what_the_configuration_names_is_prompted() -> None:
    assert "prompted" not in planned_baselines(make_refiners_config(keys()))
    assert "shown" not in planned_baselines(make_refiners_config(keys(num_examples=0)))
    full = make_refiners_config(keys(methods=["full"], rates={"full": [1e-3]}))
    assert "untuned-nf4" not in planned_baselines(full)
    assert set(planned_baselines(make_refiners_config(keys(prompted="m.gguf", handwritten="h.jsonl")))) == set(
        BASELINES
    )


def test_bytes_are_those_of_the_tensors() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 5, bias=False), torch.nn.Linear(5, 2, bias=False))
    network[0].requires_grad_(False)
    held = tensor_bytes(network, "adamw")
    assert (held.weights, held.gradients, held.states) == (4 * 25, 4 * 10, 8 * 10)
    assert tensor_bytes(network, "adafactor").states is None
