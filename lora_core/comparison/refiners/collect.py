"""The collection of all that a comparison of refiners has found so far into one table, for the report."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...refiner.tuning.folder import FREE_KEYS
from ...refiner.tuning.log import TuneRow
from ...training.log import read_row_log
from ..folder import read_json
from ..table import TABLE
from .baselines import planned_baselines
from .best import best_rates, score
from .cells import cells_of
from .config import RefinersConfig, Run
from .examples import examples_of
from .folder import RefinersFolder
from .gap import gaps_of
from .questions import TOLD, read_questions

_PATHS = ("model", "handwritten", "prompted")


def collect(config: RefinersConfig, folder: RefinersFolder, failed: Mapping[Run, str]) -> dict[str, Any]:
    """Return everything that is known, ready for JSON."""
    best = best_rates(config, folder)
    rows = [_row(config, folder, run, failed.get(run, "")) for run in config.planned(best)]
    base, questions = read_json(folder.base) or {}, read_questions(folder)
    lacking = [row for row in rows if row["state"] in ("begun", "not begun")]
    gaps = gaps_of(config, folder, questions)
    return {
        "format": 1,
        "written": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        "is_over": bool(best) and not lacking and (gaps is not None or not config.settings.num_videos),
        "config": _without_places(config.values()),
        "common": _common(config, folder),
        "environment": base.pop("environment", {}),
        "base": base,
        "sets": {
            name: {"title": title, "num": len(questions[name])} for name, title in TOLD.items() if name in questions
        },
        "baselines": _baselines(config, folder),
        "best": [{"method": method, "rehearsal": share, "lr": lr} for (method, share), lr in best.items()],
        "runs": rows,
        "cells": cells_of(rows),
        "videos": gaps,
        "examples": examples_of(config, folder, questions, best),
    }


def _without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose files and folders are named without where they lie: reports are shown around."""
    named: dict[str, Any] = {key: Path(v).name if key in _PATHS and v else v for key, v in values.items()}
    return {key: _without_places(value) if key == TABLE else value for key, value in named.items()}


def _common(config: RefinersConfig, folder: RefinersFolder) -> dict[str, Any]:
    """Return the keys that all trainings have, those too that nobody gave."""
    values = config.tune_config(config.sweep[-1], folder).values()
    own = ("method", "lr", "seed", "rehearsal_share", "rows", "rehearsal_rows", "held_out_rows", "model", *FREE_KEYS)
    return {key: value for key, value in values.items() if key not in own}


def _baselines(config: RefinersConfig, folder: RefinersFolder) -> dict[str, Any]:
    """Return name -> what a way without tuning has come to."""
    found = {}
    for name, baseline in planned_baselines(config).items():
        if (told := read_json(folder.baseline(name))) is not None:
            kept = {key: told[key] for key in ("measured", "seconds_per_answer")}
            found[name] = {"title": baseline.title, **kept}
    return found


def _row(config: RefinersConfig, folder: RefinersFolder, run: Run, why: str) -> dict[str, Any]:
    """Return what is known of one training."""
    place, judged = folder.run(run), read_json(folder.judged(run)) or {}
    log = read_row_log(place.path, TuneRow)
    seconds = [row.seconds for row in log if row.seconds is not None]
    state = "failed" if why else "begun" if log else "not begun"
    if judged:
        state = "diverged" if "diverged" in judged else "finished"
    kept = ("tuned", "bytes", "file_bytes", "libraries_bytes", "curve", "measured", "seconds_per_answer")
    return {
        "name": run.name,
        "method": run.method,
        "lr": run.lr,
        "rank": run.rank,
        "rehearsal": run.rehearsal,
        "seed": run.seed,
        "state": state,
        "why": why or judged.get("diverged", ""),
        "score": score(judged),
        "seconds_per_step": statistics.median(seconds) if seconds else None,
        "seconds_of_fast_steps": statistics.quantiles(seconds, n=4)[0] if len(seconds) > 1 else None,
        **{key: judged.get(key) for key in kept},
    }
