"""The facts of a training that its files tell: what was trained, on what, how far, and how well it did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from ..checks import known, number_text
from ..errors import TrainingError
from ..experts import EXPERTS, Expert
from ..files.expert import EXPERT_KEY
from ..files.purpose import KIND_KEY, PURPOSES, Purpose
from .settings.adapter import METHODS, Method

#: Timesteps as models are told them: 1000 t.
_TIMESTEPS = 1000.0
_WHOLE_RANGE = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class ExpertFacts:
    """What is told of one expert's half of a training.

    Attributes:
        num_steps: how many steps of the optimiser these weights have seen.
        base_file: the file or folder that was trained on, by name.
        base_hash: sha256 of it; "" where it was not taken.
        t_range: the lowest and the highest t that were drawn, 0 to 1.
        held_out_loss: what these weights lose on the clips kept for validation; None where none were.
        relative_error: of a LoRA made from whole weights, the share of their change that it has not; None of others.
    """

    num_steps: int
    base_file: str = ""
    base_hash: str = ""
    t_range: tuple[float, float] = _WHOLE_RANGE
    held_out_loss: float | None = None
    relative_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is told of a training.

    Attributes:
        base: the name of the model's spec.
        boundary: the model's; None where it has one expert.
        experts: of each expert that was trained.
        purpose: what the result is for; "" where nobody says.
        trigger: the words that stood in front of every caption; "" for none.
        size: width and height of the clips in pixels, as far as one is the usual.
        captions: caption -> how many clips have it, as kohya's tools show it.
        data_digest, config_hash: of the clips as they were encoded, and of the settings.
        extra: further entries, such as an extraction's error.
    """

    base: str
    boundary: float | None
    experts: Mapping[Expert, ExpertFacts]
    method: Method = "lora"
    purpose: Purpose = ""
    trigger: str = ""
    learning_rate: float | None = None
    optimizer: str = ""
    seed: int | None = None
    num_clips: int | None = None
    size: tuple[int, int] | None = None
    captions: Mapping[str, int] = field(default_factory=dict)
    data_digest: str = ""
    config_hash: str = ""
    finished: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known(self.method, METHODS, "method", TrainingError)
        known(self.purpose, ("", *PURPOSES), "purpose", TrainingError)
        for expert in self.experts:
            known(expert, EXPERTS, "experts", TrainingError)

    @property
    def num_experts(self) -> int:
        return 1 if self.boundary is None else 2


def metadata_of(facts: RunFacts, expert: Expert, name: str) -> dict[str, str]:
    """Return the metadata of one expert's file: our own entries, the model specification's and kohya's.

    Sources: https://github.com/Stability-AI/ModelSpec, and the names that kohya-ss's trainers write.

    Args:
        facts: of the whole training.
        expert: whose file it is.
        name: how the file is called, without its suffix.
    """
    if expert not in facts.experts:
        raise TrainingError(
            expert,
            "nothing is told of this expert's training",
            expected=", ".join(facts.experts),
            remedy="Name one of them",
        )
    entries = _own(facts, expert, name) | _model_spec(facts, expert, name) | _kohya(facts, expert, name)
    told = {key: _text(value) for key, value in entries.items() if value is not None and value != ""}
    return told | dict(facts.extra)


def _own(facts: RunFacts, expert: Expert, name: str) -> dict[str, object]:
    own = facts.experts[expert]
    return {
        "name": name,
        # Of a model with one expert, readers would take it for half a pair.
        EXPERT_KEY: expert if facts.num_experts == 2 else None,
        KIND_KEY: facts.purpose,
        "base_model": facts.base,
        "base_sha256": own.base_hash,
        "boundary": facts.boundary,
        "t_min": own.t_range[0],
        "t_max": own.t_range[1],
        "method": facts.method,
        "trigger_words": facts.trigger,
        "num_training_steps": own.num_steps,
        "num_training_clips": facts.num_clips,
        "held_out_loss": own.held_out_loss,
        "relative_error": own.relative_error,
        "data_digest": facts.data_digest,
        "config_hash": facts.config_hash,
        "software": software(),
    }


def _model_spec(facts: RunFacts, expert: Expert, name: str) -> dict[str, object]:
    own = facts.experts[expert]
    low, high = own.t_range
    is_lora = facts.method != "full" or own.relative_error is not None
    timesteps = f"{low * _TIMESTEPS:g},{high * _TIMESTEPS:g}"
    entries = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{facts.base}/lora" if is_lora else facts.base,
        "implementation": "diffusers",
        "title": name,
        "date": facts.finished.replace(microsecond=0).isoformat(),
        "resolution": facts.size and f"{facts.size[0]}x{facts.size[1]}",
        "trigger_phrase": facts.trigger,
        "usage_hint": f"Put {facts.trigger!r} into the prompt" if facts.trigger else "",
        "tags": facts.purpose,
        # The range tells readers the expert; of a model with one there is nothing to tell.
        "timestep_range": timesteps if facts.num_experts == 2 else None,
    }
    return {f"modelspec.{key}": value for key, value in entries.items()}


def _kohya(facts: RunFacts, expert: Expert, name: str) -> dict[str, object]:
    own = facts.experts[expert]
    clips = json.dumps({"clips": dict(facts.captions)}, ensure_ascii=False) if facts.captions else None
    entries = {
        "output_name": name,
        "base_model_version": facts.base,
        "sd_model_name": own.base_file,
        "new_sd_model_hash": own.base_hash,
        "learning_rate": facts.learning_rate,
        "optimizer": facts.optimizer,
        "steps": own.num_steps,
        "max_train_steps": own.num_steps,
        "num_train_images": facts.num_clips,
        "resolution": facts.size and f"({facts.size[0]}, {facts.size[1]})",
        "seed": facts.seed,
        "tag_frequency": clips,
        "training_finished_at": facts.finished.timestamp(),
    }
    return {f"ss_{key}": value for key, value in entries.items()}


def _text(value: object) -> str:
    return number_text(value) if isinstance(value, float) else str(value)


@cache
def software() -> str:
    """Name this package and its version."""
    try:
        return f"wanloom {version('wanloom')}"
    except PackageNotFoundError:  # used from a folder, without having been installed
        return "wanloom"
