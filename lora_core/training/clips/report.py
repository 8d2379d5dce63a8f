"""The report on a clips folder: one row for each file, for people or as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...checks import shown
from ...wording import Said, few, joined, padded, said
from .clip import Finding
from .diagnosis import Diagnosis
from .fault import KINDS

_COLUMNS = ("", "file", "frames", "fps", "seconds", "size", "bucket", "caption", "problem")
_HEADS = (
    "",
    said("file"),
    said("frames"),
    "fps",
    said("seconds"),
    said("size"),
    said("bucket"),
    said("caption"),
    said("problem"),
)
_RIGHT = {"frames", "fps", "seconds"}
_MAX_NAME, _MAX_CAPTION = 60, 40


def table(diagnosis: Diagnosis, buckets: Mapping[str, str] | None = None, *, only_problems: bool = False) -> Said:
    """Return the report for people: a line for each file, what to do, and the counts.

    Args:
        diagnosis: what was found.
        buckets: name of a clip -> the bucket it is in, where that is known.
        only_problems: leave out the lines of clips that nothing is said of.
    """
    chosen = [finding for finding in diagnosis.findings if finding.problem or not only_problems]
    rows: list[tuple[str, ...]] = [
        _HEADS,
        *(_row(finding, (buckets or {}).get(finding.name, "")) for finding in chosen),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown_columns = [index for index, name in enumerate(_COLUMNS) if name != "bucket" or buckets]
    lines = [_line([(row[i], widths[i], _COLUMNS[i]) for i in shown_columns]) for row in rows]
    return joined("\n", [*(lines if chosen else []), *_remedies(diagnosis), *_summary(diagnosis)])


def as_json(diagnosis: Diagnosis, buckets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the report as plain values, for JSON."""
    buckets = buckets or {}
    return {
        "folder": str(diagnosis.folder),
        "files": [_plain(finding, buckets.get(finding.name)) for finding in diagnosis.findings],
        "totals": totals(diagnosis),
        "settings": {**asdict(diagnosis.settings), "target_fps": diagnosis.fps},
        "ignored": {why: list(names) for why, names in diagnosis.ignored.items()},
        "notes": list(diagnosis.notes),
    }


def totals(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the counts of a report."""
    clips = diagnosis.clips
    return {
        "files": len(diagnosis.findings),
        "used": len(clips),
        "left_out": len(diagnosis.left_out),
        "used_with_problem": sum(finding.use and bool(finding.problem) for finding in diagnosis.findings),
        "videos": sum(not clip.probe.is_picture for clip in clips),
        "pictures": sum(clip.probe.is_picture for clip in clips),
        "seconds": round(sum(clip.probe.seconds for clip in clips), 3),
        "captions": sum(len(clip.captions) for clip in clips),
        "held_out": sum(bool(clip.held_out) for clip in clips),
        "ignored": sum(map(len, diagnosis.ignored.values())),
        "problems": diagnosis.kinds(),
    }


def _row(finding: Finding, bucket: str) -> tuple[str, ...]:
    probe = finding.probe
    frames = ("", "", "", "") if probe is None else (str(probe.num_frames), *_speed(finding), _size(finding))
    name = finding.name if len(finding.name) <= _MAX_NAME else f"…{finding.name[1 - _MAX_NAME :]}"
    mark = said("out") if not finding.use else "!" if finding.problem else "ok"
    return mark, name, *frames, bucket, _captions(finding), finding.problem


def _speed(finding: Finding) -> tuple[str, str]:
    probe = finding.probe
    return ("", "") if probe is None or probe.is_picture else (f"{probe.fps:.4g}", f"{probe.seconds:.2f}")


def _size(finding: Finding) -> str:
    return f"{finding.probe.width}x{finding.probe.height}" if finding.probe else ""


def _captions(finding: Finding) -> str:
    """Return the first caption, and how many more there are."""
    if not finding.captions:
        return ""
    first, *others = finding.captions
    text = shown(first, _MAX_CAPTION)
    return said("{first} and {more} more", first=text, more=len(others)) if others else text


def _line(cells: list[tuple[str, int, str]]) -> str:
    """Return a line of the table, of (cell, width, column); the last cell is a text as wide as it is, or nothing."""
    *first, (last, _, _) = cells
    texts = [_padded(cell, width, column) for cell, width, column in first]
    return joined("  ", [*texts, last] if last else texts)


def _padded(cell: str, width: int, column: str) -> str:
    return padded(cell, width, to_right=column in _RIGHT)


def _remedies(diagnosis: Diagnosis) -> list[str]:
    """Return a line for each thing to do, with the files it is to be done to."""
    files: dict[str, list[str]] = {}
    for finding in diagnosis.findings:
        for remedy in finding.remedies:
            files.setdefault(remedy, []).append(finding.name)
    lines = [joined("", ["  ", remedy, ": ", few(names, 8)]) for remedy, names in files.items()]
    return [said("what to do:"), *lines] if files else []


def _summary(diagnosis: Diagnosis) -> list[str]:
    counts = totals(diagnosis)
    videos, pictures, captions = (counts[key] for key in ("videos", "pictures", "captions"))
    holding = [
        said(
            "{count} video of {seconds} s" if videos == 1 else "{count} videos of {seconds} s",
            count=videos,
            seconds=f"{counts['seconds']:.1f}",
        ),
        said("{count} picture" if pictures == 1 else "{count} pictures", count=pictures),
        said("{count} caption" if captions == 1 else "{count} captions", count=captions),
    ]
    used = said(
        "{used} of {all} files are used: {holding}; {left_out} are left out",
        used=counts["used"],
        all=counts["files"],
        holding=joined(", ", holding),
        left_out=counts["left_out"],
    )
    lines = [used]
    if counts["problems"]:
        kinds = [
            said("{count} {kind}", count=count, kind=KINDS[kind].name) for kind, count in counts["problems"].items()
        ]
        lines.append(said("problems: {kinds}", kinds=joined(", ", kinds)))
    return [*lines, *(said("note: {text}", text=note) for note in diagnosis.notes)]


def _plain(finding: Finding, bucket: str | None) -> dict[str, Any]:
    probe, clip = finding.probe, finding.clip
    return {
        "file": finding.name,
        "use": finding.use,
        "problem": finding.problem or None,
        "remedy": finding.remedy or None,
        "kinds": list(finding.kinds),
        "caption": finding.captions[0] if finding.captions else None,
        "captions": list(finding.captions),
        "frames": probe.num_frames if probe else None,
        "fps": round(probe.fps, 4) if probe else None,
        "seconds": round(probe.seconds, 4) if probe else None,
        "size": [probe.width, probe.height] if probe else None,
        "bucket": bucket,
        "held_out": clip.held_out if clip else None,
        "sha256": probe.fingerprint if probe else None,
    }
