"""What a finished tuning has led to: its answers at every checkpoint and at the end, and what it took."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...refiner.instructions import find_instructions
from ...refiner.language_model import LanguageModel
from ...refiner.opening import Base, open_language_model
from ...refiner.rows.opening import open_maker
from ...refiner.tuning.config import TuneConfig
from ...refiner.tuning.folder import TuneFolder
from ...refiner.tuning.network import find_base, open_learner
from ...training.checkpoints import checkpoints_in, read_checkpoint, step_of
from ...training.settings.adapter import Method
from .asking import Questions, all_measured, answers_of_model
from .questions import CURVE
from .tensor_bytes import tensor_bytes

#: Method -> the base that its result is judged on: the one that it was tuned on first.
BASES: dict[Method, tuple[Base, ...]] = {"full": ("full",), "lora": ("full",), "qlora": ("nf4", "full")}
#: What of the record of a tuning is told.
_TOLD = ("steps", "loss", "num_trainable", "num_parameters", "num_tokens", "seconds", "memory_bytes", "notes")


def judge(
    config: TuneConfig, folder: TuneFolder, questions: Questions, before_each: Callable[[], None]
) -> dict[str, Any]:
    """Ask the written files on every base, and the checkpoints the questions of the curve.

    Args:
        config: of the tuning.
        folder: where it has come to its end.
        questions: set -> its questions.
        before_each: called before each batch; may raise to stop.
    """
    record = json.loads(folder.record.read_text(encoding="utf-8"))
    device = _device(config)
    system = find_instructions(config.system).text
    curve, held = _curve(config, folder, questions, before_each, device)
    found: dict[str, Any] = {"measured": {}, "answers": {}, "seconds_per_answer": {}}
    for base in BASES[config.method]:
        model = open_language_model(folder.refiner, base=base, device=device)
        asked = all_measured(
            questions,
            lambda prompts, m=model: answers_of_model(m, prompts, system, before_each=before_each),  # type: ignore[misc]
        )
        found["measured"][base], found["answers"][base], found["seconds_per_answer"][base] = asked
    last = found["measured"][BASES[config.method][0]]
    curve.append({"step": config.steps, **{name: last[name]["exact"] for name in CURVE}})
    return {
        "tuned": {name: record[name] for name in _TOLD},
        "bytes": held,
        "file_bytes": sum(file.stat().st_size for file in _weights_in(folder.refiner)),
        "curve": curve,
        **found,
    }


def _curve(
    config: TuneConfig, folder: TuneFolder, questions: Questions, before_each: Callable[[], None], device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, int | None]]:
    """Return what is right at each checkpoint, and the bytes of the network that learns."""
    source = find_base(config.model)
    maker = open_maker(source)
    learner = open_learner(config, source, maker, device)
    held = asdict(tensor_bytes(learner.network, config.optimizer))
    model = LanguageModel(source, learner.network.eval(), maker.tokenizer, "")
    weights, system, rows = learner.weights(), find_instructions(config.system).text, []
    for checkpoint in checkpoints_in(folder.checkpoints):
        if step_of(checkpoint) < config.steps:
            stored = read_checkpoint(checkpoint)["weights"]
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.copy_(stored[name])
            asked = {name: questions[name] for name in CURVE}
            exact, _, _ = all_measured(
                asked, lambda prompts: answers_of_model(model, prompts, system, before_each=before_each)
            )
            rows.append({"step": step_of(checkpoint), **{name: exact[name]["exact"] for name in CURVE}})
    return rows, held


def _device(config: TuneConfig) -> torch.device:
    return torch.device("cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu")


def _weights_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))
