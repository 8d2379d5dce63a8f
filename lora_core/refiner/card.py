"""The card of a refiner: what a fine-tuned language model says of itself, `refiner.json` beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..atomic import write_text
from ..checks import from_settings, parse_json
from ..errors import ModelError
from ..wording import said

#: What it is called in the folder.
FILE = "refiner.json"


@dataclass(frozen=True, kw_only=True)
class RefinerCard:
    """What is known of a refiner.

    Attributes:
        about: one sentence for people.
        method: how it was trained, "full", "lora" or "qlora"; "" where nobody said.
        base: the model that it was trained on, as the training's settings name it.
        base_digest: the sha256 of that model, which an adapter belongs to; "" where nobody said.
        instructions: the system prompt that it was trained with, word for word; "" for none.
        language: of its answers, such as "en"; "" for the language it is asked in.
        num_steps, num_rows: of the training.
    """

    about: str = ""
    method: str = ""
    base: str = ""
    base_digest: str = ""
    instructions: str = ""
    language: str = ""
    num_steps: int = 0
    num_rows: int = 0

    def write(self, folder: Path) -> None:
        """Write it into the folder of its weights."""
        write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", folder / FILE)


def read_card(folder: Path) -> RefinerCard:
    """Return the card of a folder; an empty one where there is none.

    Raises:
        ModelError: it cannot be read, or says what nobody knows.
    """
    file = folder / FILE
    if not file.is_file():
        return RefinerCard()
    told = json_in(file, "what a training wrote")
    if not isinstance(told, dict):
        raise ModelError(file, "holds no object", expected="what a training wrote", remedy="Remove it")
    return from_settings(RefinerCard, told, str(file), ModelError)


def json_in(file: Path, expected: str) -> object:
    """Return what a file of JSON holds.

    Raises:
        ModelError: it cannot be read, or is not the JSON that was expected.
    """
    try:
        return parse_json(file.read_bytes(), str(file), expected, ModelError)
    except OSError as error:
        what = said("cannot be read: {error}", error=error.strerror or error)
        raise ModelError(file, what, remedy="Check its permissions") from error
