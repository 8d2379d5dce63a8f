"""A comparison of refiners that is small enough for tests, and a table as one leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_core.comparison.refiners.cells import MEASURES, cells_of
from lora_core.comparison.refiners.questions import TOLD

RATES = {"full": [1e-3], "lora": [1e-2], "qlora": [1e-2]}


def keys(**more: Any) -> dict[str, Any]:
    """Return what `make_refiners_config` takes; `more` are keys of the table [compare]."""
    table = {"rates": RATES, "seeds": [0], "num_rows": 16, "num_questions": 4, "num_videos": 2, "num_examples": 1}
    return {"steps": 2, "batch_size": 4, "checkpoint_every": 1, "device": "cpu", "compare": {**table, **more}}


def quality(exact: float) -> dict[str, Any]:
    """Return what was measured of a set whose answers are right in so large a share."""
    slots = dict.fromkeys(("colour", "shape", "motion", "background", "others"), exact)
    rest = {name: exact for name in MEASURES if name not in slots and name != "exact"}
    return {"num_rows": 100, "exact": exact, "slots": slots, **rest, "by_kind": {}, "by_language": {}}


def row(method: str, lr: float, rehearsal: float, seed: int, learnt: float, kept: float) -> dict[str, Any]:
    """Return what is known of one training that is over."""
    shares = {"handwritten": kept, "new": learnt, "held_out": learnt, "known": kept}
    bases = ("nf4", "full") if method == "qlora" else ("full",)
    return {
        "name": f"{method}-{lr:g}-{rehearsal:g}-{seed}",
        "method": method,
        "lr": lr,
        "rank": 0 if method == "full" else 16,
        "rehearsal": rehearsal,
        "seed": seed,
        "state": "finished",
        "why": "",
        "score": (learnt + kept) / 2,
        "seconds_per_step": 0.1,
        "seconds_of_fast_steps": 0.1,
        "tuned": {"num_trainable": 10, "num_parameters": 100, "num_tokens": 1000, "memory_bytes": 2**29, "loss": 0.1},
        "bytes": {"weights": 2**20, "gradients": 2**19, "states": 2**20},
        "file_bytes": 2**20,
        "libraries_bytes": 2**28,
        "curve": [{"step": 1, "new": learnt / 2, "known": kept}, {"step": 2, "new": learnt, "known": kept}],
        "measured": {base: {name: quality(share) for name, share in shares.items()} for base in bases},
        "seconds_per_answer": dict.fromkeys(bases, 0.01),
    }


def table(rows: Sequence[Mapping[str, Any]], baselines: Mapping[str, float]) -> dict[str, Any]:
    """Return the table of a comparison: each method's only rate is its best, baselines are as good on every set."""
    best = list(dict.fromkeys((row["method"], row["rehearsal"], row["lr"]) for row in rows))
    return {
        "is_over": True,
        "written": "2026-01-01T00:00:00+00:00",
        "config": {"compare": {"rates": RATES, "rehearsal": 0.5, "ranks": [], "prompted": "", "video_steps": 6}},
        "common": {
            "steps": 2,
            "batch_size": 4,
            "rank": 16,
            "alpha": 16.0,
            "schedule": "constant",
            "optimizer": "adamw",
        },
        "environment": {},
        "base": {"counts": {"rows": 16}, "digest": "d" * 64, "model": "m" * 64},
        "sets": {name: {"title": title, "num": 100} for name, title in TOLD.items()},
        "baselines": {
            name: {"title": name, "measured": {set_: quality(share) for set_ in TOLD}, "seconds_per_answer": 0.0}
            for name, share in baselines.items()
        },
        "best": [{"method": method, "rehearsal": share, "lr": lr} for method, share, lr in best],
        "runs": list(rows),
        "cells": cells_of(rows),
        "videos": None,
        "examples": [],
    }
