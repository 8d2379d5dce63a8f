"""Examples of answers for a report: requests written by hand that the best tuning gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...pocket.requests.rows import RequestRow
from ..folder import read_json
from .config import Best, RefinersConfig
from .folder import RefinersFolder
from .judging import BASES
from .questions import HANDWRITTEN

#: How many are told of.
NUM = 8


def examples_of(
    config: RefinersConfig, folder: RefinersFolder, questions: Mapping[str, Sequence[RequestRow]], best: Best
) -> list[dict[str, str]]:
    """Return the first wrong answers of the best tuning, with what the dictionary of the same words says."""
    rows = questions.get(HANDWRITTEN, ())
    judged = [
        (found["measured"][BASES[run.method][0]][HANDWRITTEN]["exact"], found["answers"][BASES[run.method][0]])
        for run in config.sweep
        if best.get((run.method, run.rehearsal)) == run.lr
        and "answers" in (found := read_json(folder.judged(run)) or {})
        and rows
    ]
    dictionary = (read_json(folder.baseline("dictionary-new")) or {}).get("answers", {})
    if not judged or HANDWRITTEN not in dictionary:
        return []
    _, answers = max(judged, key=lambda pair: pair[0])
    told = zip(rows, answers[HANDWRITTEN], dictionary[HANDWRITTEN], strict=True)
    wrong = [
        {"prompt": row.prompt, "right": row.completion, "tuned": answer, "dictionary": other}
        for row, answer, other in told
        if answer != row.completion
    ]
    step = max(1, len(wrong) // NUM)
    return wrong[::step][:NUM]
