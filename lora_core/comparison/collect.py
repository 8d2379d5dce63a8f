"""The collection of all that a comparison has found so far into one table, from the folders of its trainings."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..experts import EXPERTS
from ..training.config import PATHS
from ..training.log import LogRow, read_log
from .asked import question
from .best import best_rates
from .config import CompareConfig, Run
from .expected import expectations
from .folder import ComparisonFolder, read_json
from .measures import KEPT, SCORES
from .subjects import Subject, subjects_of
from .summary import summary_of


def collect(config: CompareConfig, folder: ComparisonFolder, failed: Mapping[Run, str]) -> dict[str, Any]:
    """Return everything that is known, ready for JSON; the report is made from it alone."""
    best = best_rates(config, folder)
    repeats = [Run(method, lr, seed) for method, lr in best.items() for seed in config.settings.seeds]
    planned = tuple(dict.fromkeys((*config.sweep, *repeats)))
    rows = [_row(config, folder, run, failed.get(run, "")) for run in planned]
    subjects = subjects_of(config, best)
    videos = {subject.name: row for subject in subjects if (row := _videos(config, folder, subject))}
    base = read_json(folder.prepared) or {}
    methods = {method: summary_of(method, best[method], rows, videos, base, config) for method in best}
    lacking = [row for row in rows if row["state"] in ("begun", "not begun")]
    num_videos = len(subjects) if question(config)["asked"] else 0
    return {
        "format": 1,
        "written": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        "is_over": bool(best) and not lacking and len(videos) == num_videos,
        "config": _without_places(config.values()),
        "score": _score_title(config),
        "kept": {name: measure.title for name, measure in KEPT.items()} if config.is_embedded else {},
        "environment": base.pop("environment", {}),
        "base": base,
        "best": best,
        "runs": rows,
        "methods": methods,
        "videos": videos,
        "expected": expectations(methods, config),
    }


def _without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose files and folders are named without where they lie: reports are shown around."""
    return {key: Path(value).name if key in PATHS else value for key, value in values.items()}


def _score_title(config: CompareConfig) -> str:
    measure = SCORES[config.settings.score]
    return "the share of the base's held-out loss that has gone" if measure is None else measure.title


def _row(config: CompareConfig, folder: ComparisonFolder, run: Run, why: str) -> dict[str, Any]:
    """Return what is known of one training."""
    place, used = folder.run(run), config.train_config(run)
    judged, sessions = read_json(folder.judged(run)) or {}, (read_json(folder.sessions(run)) or {}).get("sessions", [])
    log = read_log(place.path)
    state = "failed" if why else "begun" if log else "not begun"
    if judged:
        state = "diverged" if "diverged" in judged else "finished"
    return {
        "name": run.name,
        "method": run.method,
        "lr": run.lr,
        "seed": run.seed,
        "state": state,
        "why": why or judged.get("diverged", ""),
        "config_sha256": hashlib.sha256(used.to_toml().encode()).hexdigest(),
        "steps": log[-1].step if log else 0,
        **_cost(log, sessions),
        "probe": judged.get("probe"),
        "files": _files(place.record),
        "held_out": judged.get("held_out"),
        "curve": {
            expert: [[row.step, loss] for row in log if (loss := row.held_out(expert)) is not None]
            for expert in EXPERTS
        },
    }


def _cost(log: tuple[LogRow, ...], sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return time and memory: the median of the steps, the sum over the processes, the most of any of them.

    A quarter of the steps is as fast as the fast ones, which other programs on the machine have disturbed least.
    """
    steps = [row.seconds for row in log if row.seconds is not None]
    most = {
        name: max((session[name] for session in sessions if session[name] is not None), default=None)
        for name in ("system_bytes", "device_bytes", "reserved_bytes")
    }
    return {
        "seconds_per_step": statistics.median(steps) if steps else None,
        "seconds_of_fast_steps": statistics.quantiles(steps, n=4)[0] if len(steps) > 1 else None,
        "seconds_of_steps": sum(steps),
        "seconds": sum(session["seconds"] for session in sessions),
        "processor_seconds": sum(session.get("processor_seconds", 0.0) for session in sessions),
        **most,
    }


def _files(record: Path) -> dict[str, dict[str, Any]]:
    """Return the files that a finished training has written, with sizes and hashes."""
    try:
        rows = json.loads(record.read_text(encoding="utf-8"))["files"]
        return {expert: {**row, "bytes": (record.parent / row["file"]).stat().st_size} for expert, row in rows.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _videos(config: CompareConfig, folder: ComparisonFolder, subject: Subject) -> dict[str, Any] | None:
    """Return what was read from the videos of a subject, and the means; None where nothing was, or of other prompts."""
    found = read_json(folder.readings(subject.name))
    if found is None or found["question"] != question(config):
        return None
    rows = found["videos"]

    def mean(name: str, kind: str) -> float | None:
        values = [row[name] for row in rows if row["kind"] == kind and name in row]
        return statistics.fmean(values) if values else None

    return {
        "base": subject.base,
        "run": None if subject.run is None else subject.run.name,
        "score": mean("score", "learning"),
        "moved": mean("moved", "drift"),
        "kept": {name: mean(name, "drift") for name in KEPT},
        "rows": rows,
    }
