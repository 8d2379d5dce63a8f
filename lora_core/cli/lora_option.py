"""LoRAs as words of the shell: a file or an embedded LoRA, and behind it what it shall do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import click
from click.shell_completion import CompletionItem

from ..checks import known, number_in_text
from ..errors import StackError
from ..families.wan.pocket import POCKET_LORAS
from ..stack.entry import AppliesTo
from ..stack.finding import or_embedded
from ..stack.hub import Repository

LORA_FORM = "FILE[:STRENGTH[:APPLIES_TO]]"


class LoraPath(click.Path):
    """A LoRA file; where there is none of that name an embedded LoRA, or a file of a repository in the local cache."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        is_completing = ctx is not None and ctx.resilient_parsing  # then nobody reads the file
        return Path(value) if is_completing else _file_named(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return complete_lora(ctx, param, incomplete)


def _file_named(text: str) -> Path:
    file = or_embedded(Path(text), text)
    repository = None if file.exists() else Repository.of(text)
    if repository is None or not repository.is_certain:
        return file
    if not repository.is_cached:
        what = "no such file, and the local Hugging Face cache has no such repository"
        raise StackError(text, what, remedy=f"Check the path, or fetch it with `{repository.command}`")
    return repository.find("")[0]  # of several files one has to be named


def complete_lora(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files and the embedded LoRAs."""
    names = [name for name in POCKET_LORAS if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


def parse_lora(text: str, is_file: Callable[[str], bool] = lambda path: False) -> tuple[str, float, AppliesTo]:
    """Take `file[:strength[:applies_to]]` apart from its end, so that a drive letter stays with the file.

    A colon may stand in the name of a file that exists: the longest beginning that `is_file` counts.
    """
    path, settings = next(((head, rest) for head, rest in _beginnings(text) if is_file(head)), _apart(text))
    strength, applies_to = 1.0, "auto"
    if settings and _is_word(settings[-1]):
        applies_to = known(settings.pop(), get_args(AppliesTo), f"--lora {text}: applies_to", StackError)
    if settings:
        strength = number_in_text(settings.pop(), f"--lora {text}: strength", StackError)
    return path, strength, cast(AppliesTo, applies_to)


def is_file_in(folders: Sequence[Path]) -> Callable[[str], bool]:
    """Return what tells whether a path is a file, in one of the folders or, without any, as it is."""
    return lambda path: any((folder / path).is_file() for folder in folders or [Path()])


def _beginnings(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (path, settings behind it), the longest path first."""
    parts = text.split(":")
    for count in range(len(parts), max(0, len(parts) - 3), -1):
        yield ":".join(parts[:count]), parts[count:]


def _apart(text: str) -> tuple[str, list[str]]:
    """Return (path, settings) by the form of the text alone; what ends as a LoRA file does is no strength."""
    from ..files.containers.opening import CONTAINERS

    path, settings = text, []
    head, _, tail = path.rpartition(":")
    if head and _is_word(tail):
        path, settings = head, [tail]
        head, _, tail = path.rpartition(":")
    if head and not any(mark in tail for mark in "/\\") and not tail.endswith(tuple(CONTAINERS)):
        path, settings = head, [tail, *settings]
    return path, settings


def _is_word(text: str) -> bool:
    """Say whether a text is a word such as low_noise, and no word for a number such as nan."""
    if not text.replace("_", "").isalpha():
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
