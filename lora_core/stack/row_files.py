"""The files of a row: its own and its twin's, in folders, in repositories, or embedded."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import StackError, located
from ..experts.twins import twin_of
from ..experts.words import expert_in_name
from ..wording import said
from .entry import LoraEntry
from .finding import A_MASK, find_lora
from .hub import Repository
from .region import Region


def with_found_files(
    entry: LoraEntry,
    lora_folders: Sequence[str | Path],
    base: Path | None = None,
    *,
    mask_folders: Sequence[str | Path] = (),
    download: bool = False,
) -> LoraEntry:
    """Return the entry with absolute paths, found in the LoRA folders or else relative to `base`.

    A region's mask may lie in the folders of masks too, which come first.

    A path that is no file may be a repository on Hugging Face, whose files in the local cache are taken. Of a row that
    is off, what is not there stays as it was given.
    """

    def find(path: Path | None, applies_to: str) -> tuple[Path | None, Path | None]:
        if path is None:
            return None, None
        try:
            return _find(path, applies_to, lora_folders, base, download=download)
        except StackError:
            if entry.enabled:
                raise
            return path, None

    path, twin = find(entry.path, "high_noise" if entry.low_noise_path is not None else entry.applies_to)
    low, _ = find(entry.low_noise_path, "low_noise")
    region = _with_found_mask(entry, [*mask_folders, *lora_folders], base)
    return replace(entry, path=path, low_noise_path=low or twin, region=region)


def _with_found_mask(entry: LoraEntry, folders: Sequence[str | Path], base: Path | None) -> Region | None:
    """Return the row's region with its mask's file found as a LoRA's is."""
    if entry.region is None or entry.region.path is None:
        return entry.region
    try:
        with located(f"LoRA {entry.name!r} region"):
            return entry.region.at(find_lora(entry.region.path, folders, base, wanted=A_MASK))
    except StackError:
        if entry.enabled:
            raise
        return entry.region


def _find(
    path: Path, applies_to: str, lora_folders: Sequence[str | Path], base: Path | None, *, download: bool
) -> tuple[Path, Path | None]:
    """Return a file, or of a repository the file for these experts and its low-noise twin."""
    try:
        return find_lora(path, lora_folders, base), None
    except StackError as missing:
        repository = Repository.of(str(path))
        if repository is None:
            raise
        if download or repository.is_cached:
            return repository.find(applies_to, download=download)
        if not repository.is_certain:
            raise
        what = said("{what}, and the local Hugging Face cache has no such repository", what=missing.what)
        remedy = said(
            "Check the path, fetch the repository with `{command}`, or switch download on", command=repository.command
        )
        raise StackError(missing.where, what, expected=missing.expected, remedy=remedy) from missing


def files_named(entries: Iterable[LoraEntry]) -> set[Path]:
    """Return the files that rows name."""
    return {file for entry in entries for file in (entry.path, entry.low_noise_path) if file is not None}


def with_twin(
    entry: LoraEntry,
    lora_folders: Sequence[str | Path],
    expert: Callable[[], str | None],
    taken: Container[Path] = (),
) -> LoraEntry:
    """Return the entry with the low-noise twin of its own file, or unchanged if it wants none or there is none.

    A high-noise file wants one if it is left to what it says of itself and has nothing for the low-noise expert. A twin
    is held to the LoRA folders as any file is.

    Args:
        entry: the row, its own file found.
        lora_folders: where its files lie.
        expert: tells which expert its file says it is for, else the row's name does; asked only where there is a twin.
        taken: the files that other rows name: they act as those rows say, and are nobody's twin.
    """
    is_alone = entry.low_noise_path is None and entry.low_noise_weights is None
    if entry.path is None or not (entry.find_twin and entry.applies_to == "auto" and is_alone):
        return entry
    twin = twin_of(entry.path)
    if twin is None or twin in taken or (expert() or expert_in_name(entry.name)) != "high_noise":
        return entry
    return replace(entry, low_noise_path=find_lora(twin, lora_folders), found_twin=True)


def twin_left_out(entry: LoraEntry) -> Path | None:
    """Return the twin of a row's file where the row is left to what the file says, for what acts without its twin."""
    return twin_of(entry.path) if entry.path is not None and entry.applies_to == "auto" else None


def files_of(entries: Iterable[LoraEntry]) -> list[Path]:
    """Return the files of rows, their masks and the twins that would be brought along included."""
    files: list[Path | None] = []
    for entry in entries:
        twin = None if entry.path is None else twin_of(entry.path)
        files += [entry.path, entry.low_noise_path, twin, None if entry.region is None else entry.region.path]
    return [file for file in files if file is not None]
