"""The check of a clips folder against a length: every clip that is too short for it is named."""

from __future__ import annotations

from ...checks import first_few
from ...errors import DatasetError
from ...families.base import ModelSpec
from ...wording import joined, said
from .diagnosis import Diagnosis
from .windows import fewest_frames, frames_at


def check_target_length(diagnosis: Diagnosis, spec: ModelSpec) -> None:
    """Raise where a video of a folder has fewer frames, at the rate trained at, than the settings ask for.

    Pictures have no length, and pass.

    Raises:
        DatasetError: some are too short, each with the frames that it makes.
    """
    least = fewest_frames(diagnosis.settings, spec)
    short = [
        (finding.name, frames_at(finding.probe, diagnosis.fps))
        for finding in diagnosis.findings
        if finding.probe is not None and "too_short" in finding.kinds
    ]
    if not short:
        return
    named = first_few((joined(" ", [name, f"({frames})"]) for name, frames in short), 8)
    what = said(
        "{count} clip is too short for {least} frames: {named}"
        if len(short) == 1
        else "{count} clips are too short for {least} frames: {named}",
        count=len(short),
        least=least,
        named=named,
    )
    seconds = (least - 1) / diagnosis.fps
    expected = said(
        "{least} frames at {fps} fps, {seconds} s", least=least, fps=f"{diagnosis.fps:g}", seconds=f"{seconds:.2f}"
    )
    raise DatasetError(diagnosis.folder, what, expected=expected, remedy="Take longer clips, or a shorter length")
