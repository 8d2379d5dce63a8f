"""The share of the gap closed in videos: how far from the raw request to the right caption a refiner comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...pocket.requests.rows import RequestRow
from ..spread import spread
from .config import RefinersConfig
from .folder import RefinersFolder
from .videos import RAW, RIGHT, SHOWN, asked_videos, known_readings, subjects_of, successes, watched_runs

#: What is told of videos: each thing as asked, all of them, and all of them of requests written by hand.
TOLD = (*SHOWN, "all", "all_by_hand")


def gaps_of(
    config: RefinersConfig, folder: RefinersFolder, questions: Mapping[str, Sequence[RequestRow]]
) -> dict[str, Any] | None:
    """Return who refined -> what the videos show, with the spread over the seeds; None where there are none yet."""
    asked = asked_videos(config, questions)
    readings = known_readings(config, folder)
    shown = {name: successes(asked, texts, readings) for name, texts in subjects_of(config, folder, asked).items()}
    raw, right = shown[RAW], shown[RIGHT]
    if raw is None or right is None:
        return None
    found: dict[str, Any] = {"num": raw["num"], "num_by_hand": raw["num_by_hand"], "subjects": {}}
    runs = {run.name: f"{run.method}-{run.rehearsal:g}" for run in watched_runs(config, folder)}
    members: dict[str, list[Mapping[str, Any]]] = {}
    for name, success in shown.items():
        if success is not None:
            members.setdefault(runs.get(name, name), []).append(success)
    for name, own in members.items():
        closed = [
            share for success in own if (share := closed_share(raw["all"], success["all"], right["all"])) is not None
        ]
        spreads = {what: spread([s[what] for s in own if s[what] is not None]) for what in TOLD}
        found["subjects"][name] = {**spreads, "closed": spread(closed)}
    return found


def closed_share(raw: float, refined: float, right: float) -> float | None:
    """Return the share of the gap between the raw request and the right caption that is closed; None without a gap."""
    return (refined - raw) / (right - raw) if right > raw else None
