"""A stack in words, one line per row, before its files are read or a model is known."""

from __future__ import annotations

from collections.abc import Iterator

from .entry import LoraEntry
from .stack import LoraStack


def list_stack(stack: LoraStack) -> str:
    """Return a line for each row: its name, strength and expert, its files, and whatever else was said of it."""
    return "\n".join("; ".join(_said(entry)) for entry in stack) or "no LoRAs"


def _said(entry: LoraEntry) -> Iterator[str]:
    low = "" if entry.low_noise_strength is None else f" (low_noise {entry.low_noise_strength:g})"
    off = "" if entry.enabled else "off, "
    yield f"{entry.name}: {off}{entry.strength:g}{low} on {entry.applies_to}"
    files = [path.name for path in (entry.path, entry.low_noise_path) if path is not None]
    if files:
        yield " + ".join(files)
    if entry.schedule is not None:
        yield f"schedule {entry.schedule}"
    if entry.target_filter is not None:
        yield f"targets {entry.target_filter}"
    if entry.trigger_words:
        yield f"say: {', '.join(entry.trigger_words)}"
