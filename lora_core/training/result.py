"""The result of a training: its files, and a record of them by which it is known to be over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import write_text
from ..checkpoints.hashes import file_sha256, hashes_of
from ..deltas import Delta
from ..experts import Expert
from ..families.base import ModelSpec
from ..families.opened import OpenedModel
from ..families.registry import family_of, spec_of_module
from ..files.extract import extract_lora
from ..files.purpose import Purpose
from ..files.trained_length import TrainedLength
from ..progress import Progress
from .assembly import boundary_of, levels_of
from .clips.cached import ClipCache
from .clips.windows import frames_wanted
from .config import TrainConfig
from .facts import ExpertFacts, RunFacts
from .learner import Learner
from .network.trainee import Trainee
from .network.whole import own_name
from .output import write_pair, write_weights
from .validation import History

#: The purposes that files tell, by the preset that was trained with.
_PURPOSES: Mapping[str, Purpose] = {name: name for name in ("style", "character", "motion", "speed")}
#: The same by what is learnt, for those objectives that have one purpose.
_OBJECTIVES: Mapping[str, Purpose] = {"speed": "speed", "reward": "quality", "extend-length": "length"}
#: The expert's name -> the piece of the model that its weights were read from.
_PIECES: Mapping[Expert, str] = {"high_noise": "high", "low_noise": "low"}


def facts_of(
    config: TrainConfig, model: OpenedModel, cache: ClipCache, learners: Mapping[Expert, Learner], history: History
) -> RunFacts:
    """Return what the files of a training tell of it."""
    boundary = boundary_of(config.noise, model.spec)
    levels = levels_of(config.noise, model.spec)
    pieces = {
        expert: (_PIECES[expert] if _PIECES[expert] in model.files and model.spec.num_experts == 2 else "high")
        for expert in learners
    }
    hashes = hashes_of({piece: model.files[piece] for piece in pieces.values()})
    measured = history.rows[-1].held_out if history.rows else {}
    experts = {
        expert: ExpertFacts(
            num_steps=learner.num_steps,
            base_file=model.files[pieces[expert]].name,
            base_hash=hashes[pieces[expert]],
            t_range=(levels.of(expert, boundary).low, levels.of(expert, boundary).high),
            held_out_loss=measured.get(expert),
        )
        for expert, learner in learners.items()
    }
    captions = [caption for clip in cache.trained for caption in clip.captions]
    stride = model.spec.vae_stride
    _, _, rows, columns = cache.trained[0].shape
    return RunFacts(
        base=model.spec.name,
        boundary=boundary,
        experts=experts,
        method=config.adapter.method,
        purpose=_OBJECTIVES.get(config.noise.objective) or _PURPOSES.get(config.preset, ""),
        trigger=config.clips.trigger,
        learning_rate=config.learning.lr,
        optimizer=config.learning.optimizer,
        seed=config.learning.seed,
        num_clips=len({clip.source for clip in cache.trained}),
        size=(columns * stride[2], rows * stride[1]),
        captions={caption: captions.count(caption) for caption in dict.fromkeys(captions)},
        data_digest=cache.digest,
        extra=_extra(config, model.spec),
        config_hash=hashlib.sha256(config.to_toml().encode()).hexdigest(),
    )


def _extra(config: TrainConfig, spec: ModelSpec) -> dict[str, str]:
    """Return what else the files tell of how they were trained: at which lengths, on what other network."""
    adapter, told = config.adapter, {}
    if config.noise.objective == "extend-length":
        frames = config.length.base_frames or spec.default_clip.num_frames, frames_wanted(config.clips, spec)
        told = TrainedLength(*frames, config.length.radial_decay, config.length.dense_blocks).to_metadata()
    corrected = {"corrected_from": adapter.base} if adapter.correct_for else {}
    return told | corrected | ({"prune_width": f"{adapter.prune_width:g}"} if adapter.prune_width else {})


def adapters_of(learners: Mapping[Expert, Learner]) -> dict[Expert, Mapping[str, Delta]]:
    """Return the change that each expert's adapter stands for."""
    deltas = {}
    for expert, learner in learners.items():
        with learner.judged():
            deltas[expert] = learner.trainee.deltas()
    return deltas


def write_adapters(learners: Mapping[Expert, Learner], folder: Path, name: str, facts: RunFacts) -> dict[Expert, Path]:
    """Write the adapter of each expert as a LoRA file."""
    return write_pair(adapters_of(learners), folder, name, facts)


def write_low_rank(
    learners: Mapping[Expert, Learner], folder: Path, name: str, facts: RunFacts, rank: int, progress: Progress
) -> tuple[dict[Expert, Path], list[str]]:
    """Write a LoRA of a rank in the place of all weights; return the files, and what each of them loses."""
    made = {}
    for expert, learner in learners.items():
        with learner.judged():
            made[expert] = extract_lora(learner.trainee.deltas(), rank, progress=progress, where=expert)
    experts = {e: replace(own, relative_error=made[e].error) for e, own in facts.experts.items()}
    deltas = {expert: extraction.weights.deltas for expert, extraction in made.items()}
    files = write_pair(deltas, folder, name, replace(facts, experts=experts))
    return files, [f"{files[expert].name}: {extraction.text()}" for expert, extraction in made.items()]


def write_all_weights(
    learners: Mapping[Expert, Learner], folder: Path, name: str, facts: RunFacts, model: OpenedModel
) -> dict[Expert, Path]:
    """Write all weights of each expert, in the dtype the model was opened in."""

    def state_of(learner: Learner) -> dict[str, Tensor]:
        with learner.judged():
            return full_state(learner.trainee)

    header = family_of(model.spec).header(next(iter(learners.values())).trainee.base)
    states = {expert: (lambda learner=learner: state_of(learner)) for expert, learner in learners.items()}
    return write_weights(states, folder, name, facts, spec=model.spec, header=header, dtype=model.dtype)


@torch.no_grad()
def full_state(trainee: Trainee) -> dict[str, Tensor]:
    """Return all parameters of a network of which some have learnt; copies on the CPU, under the family's names."""
    spec = spec_of_module(trainee.base)
    base = {own_name(path, spec): parameter.detach().cpu() for path, parameter in trainee.base.named_parameters()}
    return base | trainee.learnt()


def give_parts(learners: Mapping[Expert, Learner]) -> None:
    """Do what another process needs of this one while it writes: give it this one's part of what was learnt."""
    for learner in learners.values():
        with learner.judged():
            learner.trainee.learnt(keep=False)


def write_record(path: Path, files: Mapping[Expert, Path], told: Mapping[str, Any]) -> None:
    """Write what a finished training has led to, with the hashes of its files."""
    rows = {expert: {"file": file.name, "sha256": file_sha256(file)} for expert, file in files.items()}
    write_text(json.dumps({"files": rows, **told}, indent=2, ensure_ascii=False) + "\n", path)


def read_record(path: Path) -> dict[Expert, Path] | None:
    """Return the files of a finished training; None where it is not over, or they are not as they were written."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["files"]
        files = {expert: path.parent / row["file"] for expert, row in rows.items()}
        is_whole = all(file_sha256(file) == rows[expert]["sha256"] for expert, file in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return files if is_whole else None
