"""The collection of all that an evaluation has found so far into one table, from the folders of its cells."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..comparison.folder import read_json
from ..media.measures import MEASURES
from .cells import VARIANTS
from .folder import LengthsFolder
from .meaning import MEANINGS

#: What is read of a video beside its measures.
_COSTS = ("seconds", "processor_seconds", "step_seconds")


def collect(folder: LengthsFolder, more: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return everything that is known, ready for JSON; the report is made from it alone.

    Args:
        folder: of the evaluation; cells of any variant are taken.
        more: what else the table shall hold.
        titles: what variants are called that are not in `VARIANTS`.
    """
    known = {name: variant.title for name, variant in VARIANTS.items()} | dict(titles or {})
    cells = []
    for path in (folder.path / "videos").glob("*/readings.json"):
        variant, found = path.parent.name.rpartition("-")[0], read_json(path)
        if found is not None and variant in known:
            cells.append(_cell(variant, found))
    order = list(known)
    cells.sort(key=lambda cell: (cell["frames"], order.index(cell["variant"])))
    there = {cell["variant"] for cell in cells}
    return {
        "format": 1,
        "written": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        "asked": read_json(folder.asked) or {},
        "variants": {name: title for name, title in known.items() if name in there},
        "frames": sorted({cell["frames"] for cell in cells}),
        "cells": cells,
        "notes": list(dict.fromkeys(note for cell in cells for note in cell.pop("notes"))),
        **more,
    }


def _cell(variant: str, found: Mapping[str, Any]) -> dict[str, Any]:
    videos = found["videos"]
    read = {}
    for name in (*MEASURES, *MEANINGS, *_COSTS):
        if values := [row[name] for row in videos if name in row]:
            read[name] = {"mean": statistics.fmean(values), "least": min(values), "most": max(values)}
    return {
        "variant": variant,
        "frames": found["num_frames"],
        "num_videos": len(videos),
        "memory_bytes": found["memory_bytes"],
        "radial": found["radial"],
        "notes": found.get("notes", []),
        "read": read,
    }
