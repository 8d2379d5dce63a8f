"""The example data set in `examples/refiner`: words that pocket-lm does not know, to be taught to it."""

from collections.abc import Mapping
from pathlib import Path

from .rows import RequestRow, request_rows, write_rows


def example_rows() -> Mapping[str, list[RequestRow]]:
    """Draw the rows of each file: to learn, to measure by, and of what is known already and is to stay known."""
    rows = request_rows(101, 240, words="new")
    return {
        "rows.jsonl": rows,
        "held_out.jsonl": request_rows(102, 60, words="new", held_out=True, without={row.prompt for row in rows}),
        "known.jsonl": request_rows(103, 160),
    }


def write_examples(folder: Path) -> None:
    """Write the files anew, which is wanted whenever words or sentences change."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in example_rows().items():
        write_rows(folder / name, rows)
