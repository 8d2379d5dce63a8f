"""A fault of a file in a clips folder: of which kind it is, whether the file is used all the same, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import DatasetError
from ...wording import Said, said


@dataclass(frozen=True)
class Kind:
    """What faults of one kind have in common.

    Attributes:
        name: what a count of such faults calls them.
        remedy: what to do, where a fault does not say itself.
        leaves_out: whether a file with such a fault is not used.
    """

    name: Said
    remedy: str
    leaves_out: bool = True


_SAVE_AGAIN = said("Copy or download it again, or remove it")

#: Every kind of fault; `docs/training.md` lists them for people.
KINDS: dict[str, Kind] = {
    # the file
    "empty": Kind(said("empty"), _SAVE_AGAIN),
    "unreadable": Kind(said("unreadable"), said("Convert it to .mp4 or .png, or remove it")),
    "cut_short": Kind(said("cut short"), _SAVE_AGAIN),
    "damaged": Kind(said("damaged"), _SAVE_AGAIN),
    "no_video": Kind(said("no video"), said("Export it again with its picture, or remove it")),
    "mislabelled": Kind(said("mislabelled"), said("Rename it")),
    "missing": Kind(said("missing"), said("Correct the name, or remove the row")),
    # what it shows
    "changing_size": Kind(said("changing size"), said("Convert it to one size")),
    "too_short": Kind(said("too short"), said("Take a longer clip, or lower min_frames")),
    "black": Kind(said("black"), said("Remove it")),
    "one_colour": Kind(said("one colour"), said("Remove it")),
    "picture": Kind(said("picture"), said("Take a video in its place")),
    "frozen": Kind(said("frozen"), said("Save one frame of it as a picture, or remove it")),
    "partly_blank": Kind(said("partly blank"), said("Cut that part away"), leaves_out=False),
    "enlarged": Kind(said("enlarged"), said("Take a larger original, lower the resolution, or raise max_upscale")),
    "unusual_speed": Kind(said("unusual speed"), said("Check that it plays at its true speed"), leaves_out=False),
    "duplicate": Kind(said("duplicate"), said("Remove one of the two")),
    # what is said of it
    "no_caption": Kind(said("no caption"), said("Write one, or set default_caption or caption_from_trigger")),
    "empty_caption": Kind(said("empty caption"), said("Write one, or set default_caption or caption_from_trigger")),
    "caption_given": Kind(
        said("caption given"), said("Write one that says what is special about it"), leaves_out=False
    ),
    "unreadable_caption": Kind(said("unreadable caption"), said("Save it as UTF-8")),
    "not_utf8": Kind(said("not utf8"), said("Check its letters, and save it as UTF-8"), leaves_out=False),
    "two_captions": Kind(said("two captions"), said("Keep one of them")),
    "two_splits": Kind(said("two splits"), said("Keep one of them")),
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one file.

    Attributes:
        kind: a key of `KINDS`.
        text: what is wrong, with its values, in a few words.
        own_remedy: what to do, where that is not what is always done.
    """

    kind: str
    text: str
    own_remedy: str = ""

    @property
    def remedy(self) -> str:
        return self.own_remedy or KINDS[self.kind].remedy

    @property
    def leaves_out(self) -> bool:
        return KINDS[self.kind].leaves_out


class UnusableClipError(DatasetError):
    """A video or picture that cannot be read as one; `fault` says so in the terms of a report."""

    def __init__(self, where: object, fault: Fault) -> None:
        self.fault = fault
        super().__init__(where, fault.text, remedy=fault.remedy)
