"""The summary of a training that is over: what was learnt, in a few lines, from what lies in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..checks import time_text
from ..experts import EXPERTS
from ..wording import expert_of, joined, said
from .log import LogRow, read_log
from .run_folder import RunFolder


def summary_of(folder: RunFolder, name: str) -> list[str]:
    """Return lines on how long a training took, and what became of the loss on clips that were held out."""
    rows = read_log(folder.path)
    record = json.loads(folder.record.read_text(encoding="utf-8"))
    num_of = {expert: sum(row.expert == expert and row.loss is not None for row in rows) for expert in EXPERTS}
    shares = [joined("", [expert_of(expert), f" {num}"]) for expert, num in num_of.items() if num]
    took = time_text(sum(row.seconds or 0.0 for row in rows))
    line = said(
        "{name}: {count} step ({shares}) in {time}"
        if record["steps"] == 1
        else "{name}: {count} steps ({shares}) in {time}",
        name=name,
        count=record["steps"],
        shares=joined(", ", shares),
        time=took,
    )
    early = [said("it ended early: {why}", why=record["stopped"])] if record["stopped"] else []
    return [line, *_held_out(rows), *early]


def _held_out(rows: tuple[LogRow, ...]) -> Iterator[str]:
    for expert in EXPERTS:
        found = [(row.step, loss) for row in rows if (loss := row.held_out(expert)) is not None]
        if len(found) > 1:
            step, best = min(found, key=lambda point: point[1])
            yield said(
                "held-out loss, {expert}: {before} before, {after} after; least {best}, at step {step}",
                expert=expert_of(expert),
                before=f"{found[0][1]:.4f}",
                after=f"{found[-1][1]:.4f}",
                best=f"{best:.4f}",
                step=step,
            )
