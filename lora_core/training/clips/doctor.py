"""The doctor: every file of a clips folder is probed and every fault named, before anything heavy is done."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ...errors import TrainingError
from ...families.base import ModelSpec
from ...progress import Progress
from ...wording import few, joined, said
from ..settings.clips import ClipSettings
from .background import parse_colour
from .buckets import sizes_of
from .captions import Captioned, read_captions
from .clip import Clip, Finding, Probe
from .diagnosis import Diagnosis
from .fault import Fault, UnusableClipError
from .layout import Layout, read_layout
from .probe import probe
from .rules import faults_of
from .windows import fewest_frames, target_fps

_log = logging.getLogger(__name__)
#: Files that are decoded at a time; FFmpeg lets go of Python meanwhile.
_MAX_WORKERS = 8


def examine(folder: str | Path, settings: ClipSettings, spec: ModelSpec, progress: Progress | None = None) -> Diagnosis:
    """Examine the files of a clips folder; raise where a run may not start from them.

    Raises:
        DatasetError: no folder, no clips, none that can be used, more than `settings.max_bad` of them left out, or a
            list of captions that cannot be understood.
    """
    diagnosis = diagnose(folder, settings, spec, progress)
    diagnosis.check()
    return diagnosis


def diagnose(
    folder: str | Path, settings: ClipSettings, spec: ModelSpec, progress: Progress | None = None
) -> Diagnosis:
    """Examine the files of a clips folder, however many of them are at fault: for a report on them."""
    if settings.caption_from_trigger and not settings.trigger.strip():
        raise TrainingError("caption_from_trigger", "there is no trigger", remedy="Set the trigger, or default_caption")
    parse_colour(settings.background)
    fewest_frames(settings, spec), sizes_of(settings.resolution, spec)  # what no clip could fit is said first
    layout = read_layout(Path(folder))
    captions = read_captions(layout)
    probed = _probe_all(layout, settings, progress)
    findings: list[Finding] = []
    first_of: dict[str, str] = {}
    for name in layout.clips:
        found, captioned = probed[name], _with_given_caption(captions.of[name], settings)
        faults = [found] if isinstance(found, Fault) else [*faults_of(found, settings, spec)]
        faults += captioned.faults
        if isinstance(found, Probe) and not any(fault.leaves_out for fault in faults):
            faults += _duplicate(name, found, captioned, first_of, captions.of)
        findings.append(_finding(layout.folder, name, found, captioned, faults))
    diagnosis = Diagnosis(
        layout.folder,
        (*findings, *captions.strays),
        settings,
        target_fps(settings, spec),
        layout.ignored,
        (*captions.notes, *_ignored_notes(layout)),
    )
    _log.info("%s: %d of %d files can be used", layout.folder, len(diagnosis.clips), len(diagnosis.findings))
    return diagnosis


def _probe_all(layout: Layout, settings: ClipSettings, progress: Progress | None) -> dict[str, Probe | Fault]:
    """Probe all files, several at a time."""

    def probed(name: str) -> Probe | Fault:
        try:
            return probe(layout.folder / name, settings.background)
        except UnusableClipError as error:
            return error.fault

    found: dict[str, Probe | Fault] = {}
    pool = ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1))
    try:
        for name, result in zip(layout.clips, pool.map(probed, layout.clips), strict=True):
            found[name] = result
            if progress is not None:
                progress(len(found), len(layout.clips), said("clips examined"))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


#: The faults that a caption given by the settings mends.
_WITHOUT_CAPTION = ("no_caption", "empty_caption")


def _with_given_caption(captioned: Captioned, settings: ClipSettings) -> Captioned:
    """Give a clip without caption the one that the settings have for it, and say so."""
    given = settings.default_caption.strip()
    if not given and not settings.caption_from_trigger:
        return captioned
    source = "default_caption" if given else said("the trigger alone")

    def mended(fault: Fault) -> Fault:
        if fault.kind not in _WITHOUT_CAPTION:
            return fault
        has_none = fault.kind == "no_caption"
        what = said("has no caption") if has_none else fault.text
        return Fault("caption_given", said("{what}, {source} is taken", what=what, source=source))

    if not any(fault.kind in _WITHOUT_CAPTION for fault in captioned.faults):
        return captioned
    return replace(captioned, captions=(given,), faults=tuple(map(mended, captioned.faults)))


def _duplicate(
    name: str, found: Probe, captioned: Captioned, first_of: dict[str, str], of: Mapping[str, Captioned]
) -> Iterable[Fault]:
    """Yield a fault where a clip that is used already has the same bytes."""
    first = first_of.setdefault(found.fingerprint, name)
    if first != name:
        is_alike = of[first].captions == captioned.captions
        what = said(
            "is the same file as {first}" if is_alike else "is the same file as {first}, with another caption",
            first=first,
        )
        yield Fault("duplicate", what)


def _finding(folder: Path, name: str, found: Probe | Fault, captioned: Captioned, faults: Sequence[Fault]) -> Finding:
    probe = found if isinstance(found, Probe) else None
    use = probe is not None and not any(fault.leaves_out for fault in faults)
    clip = Clip(name, folder / name, captioned.captions, probe, captioned.held_out) if probe and use else None
    return Finding(
        name,
        use,
        problem=joined("; ", [fault.text for fault in faults]),
        remedies=tuple(dict.fromkeys(fault.remedy for fault in faults)),
        clip=clip,
        probe=probe,
        captions=captioned.captions,
        kinds=tuple(dict.fromkeys(fault.kind for fault in faults)),
    )


def _ignored_notes(layout: Layout) -> Iterable[str]:
    for why, names in layout.ignored.items():
        yield said("left aside, {why}: {names}", why=why, names=few(names, 5))
