"""Language models are tuned by all three methods, learn the answers and their ends, and go on bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from language_models import make_language_model
from safetensors.torch import load_file

from lora_core.refiner.opening import open_language_model
from lora_core.refiner.tuning.config import TuneConfig
from lora_core.refiner.tuning.log import TuneRow
from lora_core.refiner.tuning.tune import tune
from lora_core.training.log import read_row_log

METHODS = ("full", "lora", "qlora")
WORDS = {"crimson": "red", "azure": "blue", "lime": "green"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TuneConfig:
    folder = tmp_path_factory.mktemp("tuning")
    make_language_model(folder / "lm")
    rows = [{"prompt": f"{word} ball", "completion": f"a {colour} circle"} for word, colour in WORDS.items()]
    write_rows(folder / "rows.jsonl", rows)
    return TuneConfig(
        rows=str(folder / "rows.jsonl"),
        held_out_rows=str(folder / "rows.jsonl"),
        model=str(folder / "lm"),
        steps=6,
        batch_size=3,
        max_length=128,
        lr=1e-2,
        checkpoint_every=2,
        validate_every=3,
    )


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("method", METHODS)
def test_a_tuning_that_is_gone_on_with_leads_to_the_same_weights_and_log(
    config: TuneConfig, tmp_path: Path, method: str
) -> None:
    config = replace(config, method=method, dropout=0.0 if method == "full" else 0.1)
    whole = tune(config, tmp_path / "whole")
    half = tune(config, tmp_path / "half", stop_after=3)
    assert (half.steps, half.refiner) == (3, None)
    assert "step 3" in half.stopped
    tune(config, tmp_path / "half", resume=True)

    assert whole.refiner is not None
    file = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    one, other = (load_file(tmp_path / name / "refiner" / file) for name in ("whole", "half"))
    assert {weight.dtype for weight in one.values()} == {torch.float32}
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (learnt(read_row_log(tmp_path / name, TuneRow)) for name in ("whole", "half"))
    assert first == second
    assert [row[0] for row in first] == list(range(7))
    assert whole.held_out is not None
    assert whole.held_out[1] < whole.held_out[0]


def learnt(rows: tuple[TuneRow, ...]) -> list[tuple[object, ...]]:
    """Return what a log says of learning, and not of what it took."""
    return [(row.step, row.loss, row.learning_rate, row.gradient_norm, row.held_out) for row in rows]


def test_what_is_learnt_is_answered_and_ended(config: TuneConfig, tmp_path: Path) -> None:
    tuned = tune(replace(config, method="full", steps=60, lr=5e-3, checkpoint_every=0), tmp_path / "out")
    assert tuned.ended == 1.0
    model = open_language_model(tmp_path / "out")
    answer = model.answer("azure ball", max_tokens=40)
    assert (answer.text, answer.is_ended) == ("a blue circle", True)
