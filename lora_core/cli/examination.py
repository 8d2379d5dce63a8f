"""What the command line shows of an examined folder of clips: the table of its files, and their buckets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..families.base import ModelSpec
    from ..training.clips.diagnosis import Diagnosis


def show_examination(
    diagnosis: Diagnosis,
    spec: ModelSpec,
    tell: Callable[[str], None],
    *,
    only_problems: bool = False,
    batch_size: int = 1,
) -> dict[str, str]:
    """Tell what a doctor found, and how many clips come into each bucket; return clip -> its bucket."""
    from ..training.clips.prepare import bucket_lines, buckets_of
    from ..training.clips.report import table

    buckets = buckets_of(diagnosis.clips, diagnosis.settings, spec)
    tell(table(diagnosis, buckets, only_problems=only_problems))
    for line in bucket_lines(buckets, batch_size):
        tell(line)
    return buckets
