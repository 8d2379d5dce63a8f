"""The diagnosis of a clips folder: what the doctor found of each of its files, and whether a run may start from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...checks import first_few
from ...errors import DatasetError
from ...wording import few, joined, said
from ..settings.clips import ClipSettings
from .clip import Clip, Finding


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a clips folder.

    Attributes:
        findings: one for each clip in the order of their names, and one for each row of a list that names none.
        settings: what the clips were held against.
        fps: the rate that videos are resampled to.
        ignored: why -> files that are no clips.
        notes: what else people should know.
    """

    folder: Path
    findings: tuple[Finding, ...]
    settings: ClipSettings
    fps: float
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def clips(self) -> tuple[Clip, ...]:
        """What can be used."""
        return tuple(finding.clip for finding in self.findings if finding.clip is not None)

    @property
    def left_out(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.use)

    def kinds(self) -> dict[str, int]:
        """Return kind of fault -> how many files have it, the most frequent first."""
        return dict(Counter(kind for finding in self.findings for kind in finding.kinds).most_common())

    def check(self) -> None:
        """Raise where nothing or too little is left to use, or more than the allowed share of the files is left out."""
        num_left_out, num_files = len(self.left_out), len(self.findings)
        remedy = "Mend them as the report says"
        if num_left_out == num_files:
            what = said(
                "its only file cannot be used: {first}"
                if num_files == 1
                else "none of its {count} files can be used: {first}",
                count=num_files,
                first=self._first_left_out(),
            )
            raise DatasetError(self.folder, what, remedy=remedy)
        if num_left_out > self.settings.max_bad * num_files:
            what = said(
                "{count} of its {all} files are left out: {first}",
                count=num_left_out,
                all=num_files,
                first=self._first_left_out(),
            )
            expected = said("at most {most:.0%}", most=self.settings.max_bad)
            raise DatasetError(
                self.folder, what, expected=expected, remedy="Mend them as the report says, or raise max_bad"
            )
        if (num_clips := len(self.clips)) < self.settings.min_clips:
            what = said("{count} clip can be used" if num_clips == 1 else "{count} clips can be used", count=num_clips)
            if num_left_out:
                left_out = said("{count} left out: {first}", count=num_left_out, first=self._first_left_out())
                what = joined(", ", [what, left_out])
            remedy = said("Add clips, or set min_clips to {count}", count=num_clips)
            raise DatasetError(
                self.folder,
                what,
                expected=said("at least {least}", least=self.settings.min_clips),
                remedy=remedy,
            )

    def _first_left_out(self) -> str:
        return first_few((joined(" ", [finding.name, finding.problem]) for finding in self.left_out), between="; ")


def bucket_notes(
    buckets: Mapping[str, Sequence[str]], batch_size: int = 1, wanted: Iterable[str] = ()
) -> tuple[str, ...]:
    """Say which buckets are empty, or too small to fill one batch.

    Args:
        buckets: bucket -> the names of its clips.
        batch_size: how many clips of one bucket a step takes.
        wanted: buckets that were asked for.
    """
    empty = [bucket for bucket in wanted if not buckets.get(bucket)]
    notes = [said("the bucket {bucket} is empty: no clip is nearest to it", bucket=bucket) for bucket in empty]
    for bucket, names in buckets.items():
        if 0 < len(names) < batch_size:
            note = said(
                "the bucket {bucket} has {count} clip for batches of {batch_size}: {names}"
                if len(names) == 1
                else "the bucket {bucket} has {count} clips for batches of {batch_size}: {names}",
                bucket=bucket,
                count=len(names),
                batch_size=batch_size,
                names=few(list(names), 3),
            )
            notes.append(note)
    return tuple(notes)
