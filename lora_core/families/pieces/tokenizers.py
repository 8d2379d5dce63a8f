"""Tokenizers of the text encoder: Hugging Face's `tokenizer.json` and sentencepiece's model, behind one protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ...errors import ModelError
from ...wording import said

_WORD = re.compile(r"\w[\w'-]*")


class Tokenizer(Protocol):
    """What turns a cleaned prompt into token numbers, the closing `</s>` included."""

    unknown: int | None

    def encode(self, text: str) -> list[int]:
        """Return the token numbers of `text`."""


class JsonTokenizer:
    """The tokenizer of a `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Backend

        try:
            self._backend = Backend.from_file(str(path))
        except Exception as error:  # the Rust side raises a bare Exception
            raise ModelError(
                path, said("is no tokenizer.json: {error}", error=error), remedy="Download it again"
            ) from error
        self._backend.no_padding()
        self._backend.no_truncation()
        self.unknown: int | None = self._backend.token_to_id("<unk>")

    def encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text).ids)


class SentencePieceTokenizer:
    """The tokenizer of a sentencepiece model, as `spiece.model` files and ComfyUI's text encoder files carry it."""

    def __init__(self, model: bytes, where: object) -> None:
        try:
            import sentencepiece
        except ImportError:
            remedy = "Run `pip install sentencepiece`"
            raise ModelError(where, "its tokenizer needs the package sentencepiece", remedy=remedy) from None
        try:
            self._backend = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError) as error:
            raise ModelError(
                where, said("is no sentencepiece model: {error}", error=error), remedy="Download it again"
            ) from error
        self.unknown: int | None = self._backend.unk_id()

    def encode(self, text: str) -> list[int]:
        return [*self._backend.encode(text), self._backend.eos_id()]


#: File suffix -> how to open it.
_OPENERS: Mapping[str, Callable[[Path], Tokenizer]] = {
    ".json": JsonTokenizer,
    ".model": lambda path: SentencePieceTokenizer(path.read_bytes(), path),
}
#: What a tokenizer's folder may hold, the first found is taken.
_FOLDER_FILES = ("tokenizer.json", "spiece.model")


def open_tokenizer(path: Path) -> Tokenizer:
    """Open a `tokenizer.json`, a `spiece.model`, or a folder with one of them."""
    file = path
    if path.is_dir():
        file = next((path / name for name in _FOLDER_FILES if (path / name).is_file()), path / _FOLDER_FILES[0])
    if not file.is_file():
        raise ModelError(file, "no such file", expected=" or ".join(_FOLDER_FILES), remedy="Check the path")
    opener = _OPENERS.get(file.suffix)
    if opener is None:
        raise ModelError(
            file,
            said("unknown kind of tokenizer {suffix!r}", suffix=file.suffix),
            expected=" or ".join(_FOLDER_FILES),
            remedy="Choose another file",
        )
    return opener(file)


def unknown_words(tokenizer: Tokenizer, text: str) -> tuple[str, ...]:
    """Return the words of `text` that the tokenizer has no token for, each once, in their order."""
    words = dict.fromkeys(_WORD.findall(text))
    return tuple(word for word in words if tokenizer.unknown in tokenizer.encode(word))
