"""The presets: what people who train style, character, motion and speed LoRAs set, and what the embedded model needs.

The values for published models are those of the field's recipes (rank 32 to 128, alpha half the rank, lr 1e-4 to 3e-4,
accumulation 4, 2000 to 4000 steps); the embedded model is a thousand times smaller, and learns faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checks import known
from ..errors import TrainingError
from ..families.registry import FAMILIES

_COMMON: dict[str, Any] = {"accumulation": 4, "warmup": 20, "lr_schedule": "constant", "checkpointing": True}

#: What an objective is usually trained with, where neither a preset nor single keys say otherwise.
BY_OBJECTIVE: Mapping[str, Mapping[str, Any]] = {
    "extend-length": {"rank": 128, "alpha": 128.0, "targets": ("attention",)},  # arXiv 2506.19852, appendix B
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "style": {**_COMMON, "rank": 32, "lr": 2e-4, "steps": 4000, "caption_dropout": 0.1},
    "character": {**_COMMON, "rank": 32, "lr": 1e-4, "steps": 3000},
    "motion": {
        **_COMMON,
        "rank": 64,
        "alpha": 32.0,
        "lr": 2e-4,
        "steps": 4000,
        "caption_dropout": 0.05,
        "high_share": 0.6,
    },
    "speed": {**_COMMON, "objective": "speed", "rank": 128, "lr": 3e-4, "steps": 2000},
    "quick": {**_COMMON, "rank": 16, "lr": 3e-4, "steps": 200, "accumulation": 1, "save_every": 100},
}

_SMALL: dict[str, Any] = {
    "rank": 16,
    "lr": 1e-2,
    "timesteps": "uniform",
    "shift": 3.0,
    "batch_size": 8,
    "warmup": 10,
    "lr_schedule": "cosine",
    "ema": 0.95,
    "validate_every": 50,
    "save_every": 100,
}
_SMALL_SPEED = {key: value for key, value in _SMALL.items() if key not in ("timesteps", "shift")} | {"lr": 5e-3}
EMBEDDED_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "style": {**_SMALL, "steps": 200, "high_share": 0.4, "caption_dropout": 0.1},
    "character": {**_SMALL, "steps": 280, "high_share": 0.3},
    "motion": {**_SMALL, "steps": 200, "high_share": 0.6},
    "speed": {**_SMALL_SPEED, "objective": "speed", "steps": 260, "num_trajectories": 128},
    "quick": {**_SMALL, "steps": 90, "high_share": 0.35, "validate_every": 45, "save_every": 45},
}


def usual_values(preset: str, model: str, objective: str = "") -> dict[str, Any]:
    """Return the keys that a preset sets for a model, or without one those that an objective does."""
    if not preset:
        return dict(BY_OBJECTIVE.get(objective, {}))
    is_embedded = any(model in family.embedded for family in FAMILIES)
    table = EMBEDDED_PRESETS if is_embedded else PRESETS
    return dict(table[known(preset, table, "preset", TrainingError)])
