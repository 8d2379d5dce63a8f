"""The answers that language models on this machine have given, kept in the user's cache folder.

A model that always takes the likeliest token need not be asked twice. Of a request only a hash is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from ..atomic import replacing
from ..checkpoints.hashes import cache_file
from ..errors import OutputError
from .language_model import Answer

#: Raised when the same question would be answered otherwise than by an older version.
_FORMAT = 1
#: A table that only grows would slow every run down; the oldest rows go first.
MAX_ROWS = 500
#: Hash of a question -> [text, whether it was ended, how many tokens].
Table = dict[str, list[object]]


@dataclass(frozen=True)
class Question:
    """All that an answer depends on.

    Attributes:
        digest: of the model's files, its adapter's too.
        system: what it is told beside the request.
    """

    digest: str
    system: str
    request: str
    max_tokens: int

    @property
    def key(self) -> str:
        """A hash of all of it."""
        return hashlib.sha256(json.dumps([_FORMAT, *astuple(self)]).encode()).hexdigest()


def answers_file() -> Path:
    """Return where answers are kept: beside the hashes of models' files."""
    return cache_file().with_name("answers.json")


def kept_answer(question: Question) -> Answer | None:
    """Return the answer that was given before, or None."""
    row = _read_table().get(question.key)
    return None if row is None else Answer(*row)  # type: ignore[arg-type]  # `_is_row` has looked


def keep_answer(question: Question, answer: Answer) -> None:
    """Keep an answer; where nothing may be written, or there is no room, the model is asked again the next time."""
    rows = {**_read_table(), question.key: list(astuple(answer))}
    with suppress(OSError, OutputError):
        answers_file().parent.mkdir(parents=True, exist_ok=True)
        with replacing(answers_file()) as temporary:
            temporary.write_text(json.dumps(dict(list(rows.items())[-MAX_ROWS:]), indent=0), encoding="utf-8")


def _read_table() -> Table:
    """Return what is kept; nothing where there is no table, or one that is damaged."""
    try:
        table = json.loads(answers_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: row for key, row in table.items() if _is_row(row)} if isinstance(table, Mapping) else {}


def _is_row(row: object) -> bool:
    return isinstance(row, list) and [type(value) for value in row] == [str, bool, int]
