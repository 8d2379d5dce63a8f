"""The example data set in `examples/refiner`: words that pocket-lm does not know, to be taught to it."""

from collections.abc import Collection, Mapping
from pathlib import Path

from .rows import RequestRow, request_rows, write_rows


def example_rows() -> Mapping[str, list[RequestRow]]:
    """Draw the rows of each file: to learn, to measure by, and of what is known already and is to stay known."""
    rows = _of_new_words(101, 480)
    return {
        "rows.jsonl": rows,
        "held_out.jsonl": _of_new_words(102, 80, held_out=True, without={row.prompt for row in rows}),
        "known.jsonl": request_rows(103, 160),
    }


def write_examples(folder: Path) -> None:
    """Write the files anew, which is wanted whenever words or sentences change."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in example_rows().items():
        write_rows(folder / name, rows)


def _of_new_words(seed: int, num: int, held_out: bool = False, without: Collection[str] = ()) -> list[RequestRow]:
    kinds = ("ordinary", "underspecified", "protected")
    return request_rows(seed, num, "new", "known", kinds, ("en",), held_out, without)
