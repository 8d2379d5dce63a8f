"""The sheet of a comparison: one prompt of each kind, by the base and by every method, on the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..media.contact_sheet import contact_sheet
from ..media.video import read_video
from .asked import Asked, asked_videos
from .config import CompareConfig
from .folder import ComparisonFolder
from .plots import TITLES
from .subjects import Subject

SHEET = "comparison-videos.png"


def save_sheet(config: CompareConfig, folder: ComparisonFolder, subjects: Sequence[Subject], path: Path) -> None:
    """Draw the videos that are there, of the base and of the trainings with the first seed."""
    shown = [subject for subject in subjects if subject.run is None or subject.run.seed == config.settings.seeds[0]]
    asked = asked_videos(config)
    first = [next((video for video in asked if video.kind == kind), None) for kind in ("learning", "drift")]
    rows, labels = [], []
    for video in filter(None, first):
        for subject in shown:
            file = folder.videos(subject.name) / f"{video.name}.mp4"
            if file.is_file():
                rows.append(read_video(file)[0])
                labels.append(_label(subject, video))
    if rows:
        contact_sheet(rows, labels, path, title="the same noise, method by method", cell=96)


def _label(subject: Subject, video: Asked) -> str:
    who = "base" if subject.run is None else TITLES[subject.run.method]
    is_worth_saying = subject.base == "packed" or (subject.run is not None and subject.run.method == "qlora")
    return f"{who}{f', {subject.base}' if is_worth_saying else ''}\n{video.prompt}"
