"""The summary of one method: what its best rate costs and leads to, with the spread over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..training.settings.adapter import Method
from .config import CompareConfig
from .measures import HELD_OUT
from .spread import spread
from .subjects import BASES

Rows = Sequence[Mapping[str, Any]]


def summary_of(
    method: Method,
    lr: float,
    rows: Rows,
    videos: Mapping[str, Mapping[str, Any]],
    base: Mapping[str, Any],
    config: CompareConfig,
) -> dict[str, Any]:
    """Return what is known of a method at its best rate.

    Args:
        method: of the trainings.
        lr: the rate that lost least in the sweep.
        rows: all trainings.
        videos: subject -> what was read from its videos.
        base: what the base loses on held-out clips.
        config: says how much was learnt is told.
    """
    own = [row for row in rows if row["method"] == method]
    best = [row for row in own if row["lr"] == lr and row["state"] == "finished"]
    probes = [row["probe"] for row in own if row["probe"]]
    first = best[0] if best else {}
    num_experts = len(first.get("files", {})) or 1

    def usual(name: str) -> float | None:
        return statistics.median(values) if (values := [row[name] for row in best if row[name]]) else None

    def most(name: str) -> int | None:
        return max((row[name] for row in own if row[name] is not None), default=None)

    return {
        "lr": lr,
        "is_at_edge": _is_at_edge(lr, config.rates(method)),
        "num_seeds": len(best),
        "num_weights": probes[0]["num_weights"] * num_experts if probes else None,
        "tensor_bytes": max((p["tensor_bytes"] for p in probes), default=None),
        "device_bytes": most("device_bytes"),
        "system_bytes": most("system_bytes"),
        **{name: usual(name) for name in ("seconds_per_step", "seconds", "processor_seconds")},
        # Of the fastest training, for the same reason for which it is told of the fastest steps.
        "seconds_of_fast_steps": min((row["seconds_of_fast_steps"] for row in best), default=None),
        "file_bytes": sum(file["bytes"] for file in first.get("files", {}).values()),
        "held_out": {name: _losses(best, name) for name in BASES[method]},
        "judged": {name: _judged(best, name, videos, base, config) for name in BASES[method]},
    }


def _is_at_edge(lr: float, rates: Sequence[float]) -> bool:
    """Say whether a better rate may lie outside those that were tried."""
    return lr in (rates[0], rates[-1])


def _losses(best: Rows, base: str) -> dict[str, Any]:
    """Return expert -> the spread of its held-out loss, and that of the mean of both."""
    found = [row["held_out"][base] for row in best]
    experts = list(found[0]) if found else []
    by_expert = {expert: spread([losses[expert] for losses in found]) for expert in experts}
    return {**by_expert, "mean": spread([statistics.fmean(losses.values()) for losses in found])}


def _judged(
    best: Rows, name: str, videos: Mapping[str, Mapping[str, Any]], base: Mapping[str, Any], config: CompareConfig
) -> dict[str, Any]:
    """Return the spread of the score, of how far other prompts have moved, and of what of them was kept."""
    seen = [row for row in videos.values() if row["base"] == name and row["run"] in [run["name"] for run in best]]

    def over(read: Callable[[Mapping[str, Any]], float | None]) -> dict[str, object] | None:
        return spread([value for row in seen if (value := read(row)) is not None])

    score = over(lambda row: row["score"])
    if config.settings.score == HELD_OUT and base.get("held_out"):
        before = statistics.fmean(base["held_out"]["plain"].values())
        score = spread([1 - statistics.fmean(row["held_out"][name].values()) / before for row in best])
    kept = {key: over(lambda row, key=key: row["kept"][key]) for key in (seen[0]["kept"] if seen else ())}  # type: ignore[misc]
    return {"score": score, "moved": over(lambda row: row["moved"]), "kept": kept}
