"""The split of clips into those that are trained on and those that are held out for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ...errors import DatasetError
from ...wording import said
from .clip import Clip

#: From how many clips on one is held out however small the share.
_MIN_CLIPS = 4


def held_out_names(clips: Sequence[Clip], share: float) -> frozenset[str]:
    """Return the names of the clips that are held out, the same whenever the clips are the same.

    The folder's metadata decides where it says anything of a split; else a share of the clips is drawn by the hash of
    their names, at least one of four or more, and never all.
    """
    if any(clip.held_out is not None for clip in clips):
        marked = frozenset(clip.name for clip in clips if clip.held_out)
        if len(marked) == len(clips):
            what = said("all {count} usable clips are marked as held out", count=len(clips))
            raise DatasetError("split", what, expected="some to train on", remedy="Mark some as train")
        return marked
    wanted = round(share * len(clips))
    if share > 0 and len(clips) >= _MIN_CLIPS:
        wanted = max(1, wanted)
    drawn = sorted((clip.name for clip in clips), key=_hash)
    return frozenset(drawn[: min(wanted, len(clips) - 1)])


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
