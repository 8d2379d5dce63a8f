"""The questions of a comparison, set by set, and the rows that are learnt and rehearsed; no request is in two sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...pocket.requests.rows import KINDS, RequestRow, read_request_rows, request_rows, write_rows
from .folder import RefinersFolder
from .settings import RefinersSettings


@dataclass(frozen=True)
class QuestionSet:
    """A set of questions, or of rows, that is drawn.

    Attributes:
        title: what reports call it.
        seed: what it is drawn with.
        words: which of the lists of words it is in.
        is_held_out: whether its mixtures of colour, shape, motion and background are those that no row has.
        kinds: of requests in it.
    """

    title: str
    seed: int
    words: str
    is_held_out: bool = False
    kinds: tuple[str, ...] = KINDS


HANDWRITTEN, NEW, HELD_OUT, KNOWN, VIDEOS = "handwritten", "new", "held_out", "known", "videos"
ROWS = QuestionSet("learnt", 7100, "new")
REHEARSAL = QuestionSet("rehearsed", 7101, "known")
DRAWN: Mapping[str, QuestionSet] = {
    NEW: QuestionSet("new words", 7102, "new"),
    HELD_OUT: QuestionSet("new words, mixtures held out", 7103, "new", is_held_out=True),
    KNOWN: QuestionSet("known words", 7104, "known"),
    VIDEOS: QuestionSet("new words, for videos", 7107, "new", is_held_out=True, kinds=("ordinary",)),
    "choice_new": QuestionSet("new words, for the choice of the rate", 7105, "new"),
    "choice_known": QuestionSet("known words, for the choice of the rate", 7106, "known"),
}
#: Those by which the rate of each method is chosen, and nothing else is told of.
CHOICE = ("choice_new", "choice_known")
#: Those that every checkpoint is asked.
CURVE = (NEW, KNOWN)
#: Those that reports tell of, in their order.
TOLD: Mapping[str, str] = {
    HANDWRITTEN: "handwritten",
    **{name: DRAWN[name].title for name in (NEW, HELD_OUT, KNOWN)},
}


def write_questions(settings: RefinersSettings, folder: RefinersFolder) -> None:
    """Draw everything, and write it into the folder of a comparison."""
    used: set[str] = set()
    folder.questions(NEW).parent.mkdir(parents=True, exist_ok=True)
    if settings.handwritten:
        handwritten = read_request_rows(settings.handwritten)
        used |= {row.prompt for row in handwritten}
        write_rows(folder.questions(HANDWRITTEN), handwritten)
    nums = dict.fromkeys(DRAWN, settings.num_questions) | {VIDEOS: settings.num_videos}
    files = {folder.questions(name): (drawn, nums[name]) for name, drawn in DRAWN.items()}
    files |= {folder.rows: (ROWS, settings.num_rows), folder.rehearsal: (REHEARSAL, settings.num_rows)}
    for file, (drawn, num) in files.items():
        rows = request_rows(
            drawn.seed,
            num,
            drawn.words,
            kinds=drawn.kinds,
            languages=settings.languages,
            held_out=drawn.is_held_out,
            without=used,
        )
        used |= {row.prompt for row in rows}
        write_rows(file, rows)


def read_questions(folder: RefinersFolder) -> dict[str, list[RequestRow]]:
    """Return name -> the questions of each set that is there."""
    names = [HANDWRITTEN, *DRAWN]
    return {name: read_request_rows(file) for name in names if (file := folder.questions(name)).is_file()}


def question_files(folder: RefinersFolder) -> dict[str, Path]:
    """Return what everything that is drawn lies in, by name."""
    drawn = {name: folder.questions(name) for name in (HANDWRITTEN, *DRAWN) if folder.questions(name).is_file()}
    return {**drawn, "rows": folder.rows, "rehearsal": folder.rehearsal}
