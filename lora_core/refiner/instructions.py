"""The instructions of a refiner: the system prompt that tells a language model how to write for a video model.

Ours lie in `texts/`, one for each kind of video model, and begin with the languages of their answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import MAX_TEXT_LENGTH, known, nearest, typed, whole_path
from ..errors import RequestError
from ..wording import said
from .languages import LANGUAGES

if TYPE_CHECKING:
    from ..families.base import ModelSpec

_TEXTS = Path(__file__).parent / "texts"
_LANGUAGES = "languages:"
#: A line that ends so names a file, also where there are spaces in it.
_FILES = (".txt", ".md")


@dataclass(frozen=True)
class Instructions:
    """A system prompt.

    Attributes:
        name: of ours, or of the file; "" for a text of one's own.
        text: as the model is told it; "" for none.
        languages: of its answers, the usual one first; () where nobody says.
    """

    name: str
    text: str
    languages: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What a record says of them behind the model's name."""
        if not self.text:
            return ""
        return f", as {self.name}" if self.name in instruction_names() else f", instructions {self.digest}"

    @property
    def digest(self) -> str:
        """The beginning of the text's sha256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]

    def language_for(self, own: str) -> str:
        """Return the language of an answer to a request in its own one; "" where nobody says."""
        if not self.languages:
            return "" if self.text else own
        return own if own in self.languages else self.languages[0]

    def keeping(self, words: Sequence[str]) -> str:
        """Return the text, with the words that must stay as they are; where there is no text none is begun."""
        if not self.text or not words:
            return self.text
        listed = ", ".join(words)
        return f"{self.text}\n\nKeep these letter by letter, each as often as you need it: {listed}"


def instruction_names() -> tuple[str, ...]:
    """Return what our own instructions are called."""
    return tuple(sorted(file.stem for file in _TEXTS.glob("*.txt")))


@typed(RequestError)
def find_instructions(given: str) -> Instructions:
    """Return instructions by the name of ours, by a file, or as the text that they are.

    Raises:
        RequestError: a name, or what looks like a file, and is none that there is; a file that cannot be read.
    """
    if given in instruction_names():
        return _parsed(given, (_TEXTS / f"{given}.txt").read_text(encoding="utf-8"))
    if not given.strip():
        return Instructions("", "")
    if not _is_file(given) and not _names_file(given):
        return _parsed("", given)
    if not _is_file(given):
        what = said("there are no instructions {name!r:.200}", name=given)
        expected = nearest(Path(given).name, instruction_names())
        raise RequestError("instructions", what, expected=expected, remedy="Name some, or a file with a text")
    try:
        text = Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        what = said("cannot be read: {error}", error=error)
        raise RequestError(given, what, expected="a text in UTF-8", remedy="Check the file") from error
    if not 0 < len(text.strip()) <= MAX_TEXT_LENGTH:
        what = said("{count:,} letters of instructions", count=len(text.strip()))
        raise RequestError(given, what, expected="a text", remedy="Write what the refiner shall do")
    return _parsed(Path(given).name, text)


def seen_from(given: str, folder: Path) -> str:
    """Return instructions that are a file, looked for from a folder, by its whole path; others as they are."""
    if not given.strip() or given in instruction_names():
        return given
    is_file = _names_file(given) or _is_file(str(folder / given))
    return whole_path(given, folder) if is_file else given


def instructions_for(spec: ModelSpec, *, has_picture: bool = False) -> str:
    """Return the name of the instructions for prompts of a video model; "" where its family has none."""
    from ..families.registry import customs_of

    return customs_of(spec).instructions(spec, has_picture)


def usual_instructions() -> str:
    """Return the name of the instructions for texts where nobody says what the video model is: the first family's."""
    from ..families.registry import FAMILIES

    return instructions_for(FAMILIES[0].grammar())


def _parsed(name: str, text: str) -> Instructions:
    """Take the languages off the first line, where it tells them."""
    first, _, rest = text.strip().partition("\n")
    if not first.lower().startswith(_LANGUAGES):
        return Instructions(name, text.strip())
    languages = tuple(word.strip() for word in first[len(_LANGUAGES) :].split(",") if word.strip())
    for language in languages:
        known(language, LANGUAGES, name or "instructions", RequestError)
    return Instructions(name, rest.strip(), languages)


def _names_file(given: str) -> bool:
    """Say whether a text looks like a file, and not like something to tell a model."""
    is_line = "\n" not in given.strip()
    return is_line and (len(given.split()) == 1 or given.lower().endswith(_FILES) or Path(given).is_absolute())


def _is_file(given: str) -> bool:
    try:
        return Path(given).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long for a name, for one
        return False
