"""The share of the gap closed in videos: how far from the raw request to the right caption a refiner comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...pocket.requests.rows import RequestRow
from ..spread import spread
from .config import RefinersConfig
from .folder import RefinersFolder
from .videos import RAW, RIGHT, SHOWN, asked_videos, known_readings, subjects_of, successes, watched_runs

#: All three as asked: of all requests, of those written by hand, of those drawn in new words.
WHOLE = ("all", "by_hand", "drawn")


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
        found["subjects"][name] = {
            **{what: _spread([success[what] for success in own]) for what in (*SHOWN, *WHOLE)},
            "closed": {
                what: _spread([closed_share(raw[what], success[what], right[what]) for success in own])
                for what in WHOLE
            },
        }
    return found


def _spread(values: Sequence[float | None]) -> dict[str, object] | None:
    return spread([value for value in values if value is not None])


def closed_share(raw: float | None, refined: float | None, right: float | None) -> float | None:
    """Return the share of the gap between the raw request and the right caption that is closed; None without a gap."""
    if raw is None or refined is None or right is None or right <= raw:
        return None
    return (refined - raw) / (right - raw)
