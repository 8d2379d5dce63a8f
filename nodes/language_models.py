"""The language models in the host's folders, by the names that a list shows them under; nothing is fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import folder_paths

from ..lora_core import LoraCoreError, ModelError
from ..lora_core.refiner.sources import ADAPTER_FILE, POCKET_LM, find_language_source
from .folders import fingerprint

#: The kinds of folders of the host in which they may lie; other packs register the first two.
_KINDS = ("LLM", "llm", "text_encoders")
#: Below a folder of the host: `LLM/maker/model`.
_DEPTH = 3
_CONFIG = "config.json"


def language_model_names() -> list[str]:
    """Return what a list offers: the one that comes with WanLoom, then those of the host's folders."""
    return [POCKET_LM, *sorted(_found())]


def language_model_path(name: str) -> str | Path:
    """Return what `find_language_source` takes for a name of the list.

    Raises:
        ModelError: it is none, or is there no longer.
    """
    if name == POCKET_LM:
        return name
    found = _found()
    if name not in found:
        expected = "pocket-lm, or a folder or .gguf below models/LLM or models/text_encoders"
        raise ModelError(name, "no such language model", expected=expected, remedy="Press R and choose another")
    return found[name]


def files_of_language_model(name: str) -> tuple[tuple[str, int, int], ...]:
    """Return sizes and times of a model's files, its base's too, for the host to see that one was replaced."""
    source = find_language_source(language_model_path(name))
    places = [place for place in (source.base, source.adapter) if place is not None]
    return fingerprint(file for place in places for file in (sorted(place.iterdir()) if place.is_dir() else [place]))


def _found() -> dict[str, Path]:
    """Return name -> folder or GGUF; of two of one name the first."""
    found: dict[str, Path] = {}
    for root in _roots():
        for place in _candidates(root, _DEPTH):
            found.setdefault(f"{root.name}/{place.relative_to(root).as_posix()}", place)
    return found


def _roots() -> list[Path]:
    registered = [
        folder
        for kind in _KINDS
        if kind in folder_paths.folder_names_and_paths
        for folder in folder_paths.get_folder_paths(kind)
    ]
    roots = [Path(folder) for folder in (*registered, os.path.join(folder_paths.models_dir, "LLM"))]
    return list({os.path.realpath(root): root for root in reversed(roots)}.values())[::-1]


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    with suppress(OSError):  # gone, or not ours to read
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            place = Path(entry.path)
            if entry.is_file() and place.suffix.lower() == ".gguf":
                if _is_language_model(place, entry.stat().st_mtime_ns):
                    yield place
            elif entry.is_dir():
                marks = [place / file for file in (ADAPTER_FILE, _CONFIG) if (place / file).is_file()]
                if not marks and not (place / "refiner").is_dir():
                    yield from _candidates(place, depth - 1) if depth > 1 else ()
                elif _is_language_model(place, marks[0].stat().st_mtime_ns if marks else 0):
                    yield place


@lru_cache(maxsize=512)
def _is_language_model(place: Path, changed: int) -> bool:
    """Return whether something goes on with a text; an adapter is shown though its base may be missing.

    Args:
        place: a folder, or a GGUF.
        changed: when; what has not changed is not read again, as the host asks at every run.
    """
    try:
        find_language_source(place)
    except LoraCoreError:
        return (place / ADAPTER_FILE).is_file()
    return True
