"""The sidecars of a LoRA file: what the tools that manage LoRAs have written beside it, each format one row.

A sidecar that is broken is told of and nothing more: people run what they have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import first_line
from .advised import Advised, advised
from .beside import Names, file_beside
from .plain_text import plain_text

#: The largest sidecar that is read: those with the prompts of all example pictures have some hundred kilobytes.
MAX_BYTES = 8 * 2**20
_MAX_WORDS = 100
_MAX_WORD_LETTERS = 300
#: What tools write for a base that they do not know.
_NO_BASE = ("", "unknown", "other")

Form = Mapping[str, Any]


@dataclass(frozen=True)
class Sidecar:
    """What one file beside a LoRA tells of it, as plain text.

    Attributes:
        source: the tool that writes such files.
        base: the model as that tool calls it.
        fault: why nothing could be read; "" where it could.
    """

    source: str
    title: str = ""
    base: str = ""
    trigger_words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    strength: Advised | None = None
    notes: tuple[str, ...] = ()
    fault: str = ""


def sidecar_files(path: Path, names: Names) -> list[Path]:
    """Return the sidecars of a LoRA file that are there."""
    found = (file_beside(path, ending, names) for ending in FORMATS)
    return [file for file in found if file is not None]


def read_sidecars(path: Path, names: Names) -> tuple[Sidecar, ...]:
    """Read what lies beside a LoRA file, what its owner has written first."""
    found = ((file_beside(path, ending, names), *row) for ending, row in FORMATS.items())
    return tuple(_read(file, source, take) for file, source, take in found if file is not None)


def words_of(texts: Iterable[object]) -> tuple[str, ...]:
    """Return the words of texts in which commas stand between them, each once."""
    parts = (part.strip() for text in texts if isinstance(text, str) for part in plain_text(text).split(","))
    once = {word.lower(): word for word in reversed([part for part in parts if 0 < len(part) <= _MAX_WORD_LETTERS])}
    return tuple(reversed(once.values()))[:_MAX_WORDS]


def _read(file: Path, source: str, take: Callable[[Form, str], Sidecar]) -> Sidecar:
    try:
        if file.stat().st_size > MAX_BYTES:
            return Sidecar(source, fault=f"{file.name} is larger than {MAX_BYTES // 2**20} MB and was not read")
        form = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return Sidecar(source, fault=f"{file.name} cannot be read: {_reason(error)}")
    if not isinstance(form, Mapping):
        return Sidecar(source, fault=f"{file.name} holds no table")
    return take(form, source)


def _reason(error: BaseException) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else first_line(error)


def _lora_manager(form: Form, source: str) -> Sidecar:
    """Its `.metadata.json`: fields of its own, and under `civitai` the site's."""
    civitai, tips = _table(form, "civitai"), _json_table(form.get("usage_tips"))
    return Sidecar(
        source,
        title=_line(form.get("model_name")),
        base=_base(form.get("base_model")),
        trigger_words=words_of(_list(civitai.get("trainedWords"))),
        tags=words_of(_list(form.get("tags"))),
        strength=advised(tips.get("strength"), tips.get("strength_min"), tips.get("strength_max")),
        notes=_notes(form.get("notes"), civitai.get("description"), form.get("modelDescription")),
    )


def _rgthree(form: Form, source: str) -> Sidecar:
    """Its `.rgthree-info.json`: words that were counted in captions alone are no trigger words."""
    told = [word for word in _list(form.get("trainedWords")) if isinstance(word, Mapping)]
    words = [word.get("word") for word in told if word.get("user") or word.get("civitai")]
    return Sidecar(
        source,
        title=_line(form.get("name")),
        base=_base(form.get("baseModel")),
        trigger_words=words_of([*words, *_list(form.get("triggerWords"))]),
        tags=words_of(_list(form.get("userTags"))),
        strength=advised(None, form.get("strengthMin"), form.get("strengthMax")),
        notes=_notes(form.get("userNote")),
    )


def _civitai(form: Form, source: str) -> Sidecar:
    """Civitai's answer about a version of a model, as its helpers keep it in `.civitai.info`."""
    model = _table(form, "model")
    title = " ".join(filter(None, (_line(model.get("name")), _line(form.get("name")))))
    return Sidecar(
        source,
        title=title,
        base=_base(form.get("baseModel")),
        trigger_words=words_of(_list(form.get("trainedWords"))),
        tags=words_of(_list(model.get("tags"))),
        notes=_notes(form.get("description"), model.get("description")),
    )


def _webui(form: Form, source: str) -> Sidecar:
    """The web UI's `.json` of a user's own words."""
    return Sidecar(
        source,
        base=_base(form.get("sd version")),
        trigger_words=words_of([form.get("activation text")]),
        tags=words_of(_list(form.get("tags"))),
        strength=advised(form.get("preferred weight")),
        notes=_notes(form.get("notes"), form.get("description")),
    )


#: Ending behind the LoRA's name (`*` stands for its suffix) -> (the tool that writes it, what takes its fields).
FORMATS: Mapping[str, tuple[str, Callable[[Form, str], Sidecar]]] = {
    ".json": ("web UI", _webui),
    "*.rgthree-info.json": ("rgthree", _rgthree),
    ".metadata.json": ("Lora-Manager", _lora_manager),
    ".civitai.info": ("Civitai", _civitai),
}


def _table(form: Form, key: str) -> Form:
    inner = form.get(key)
    return inner if isinstance(inner, Mapping) else {}


def _json_table(value: object) -> Form:
    try:
        return _table({"": json.loads(value)}, "") if isinstance(value, str) else {}
    except (ValueError, RecursionError):
        return {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _line(value: object) -> str:
    return " ".join(plain_text(value).split())[:_MAX_WORD_LETTERS] if isinstance(value, str) else ""


def _base(value: object) -> str:
    base = _line(value)
    return "" if base.lower() in _NO_BASE else base


def _notes(*values: object) -> tuple[str, ...]:
    texts = (plain_text(value) for value in values if isinstance(value, str))
    return tuple(dict.fromkeys(text for text in texts if text))
