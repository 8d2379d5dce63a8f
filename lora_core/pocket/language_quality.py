"""The quality table of pocket-lm: how often its answers are right, beside the keyword dictionary's on the same rows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..atomic import write_text
from ..refiner.opening import open_language_model
from .language_model import MAX_ANSWER_TOKENS
from .requests.dictionary import build_dictionary
from .requests.measure import RequestQuality, measure
from .requests.rows import RequestRow, read_request_rows, request_rows

#: The requests that people have typed; they lie beside the package, in the repository.
HANDWRITTEN = Path(__file__).parents[2] / "benchmarks" / "refiner" / "handwritten.jsonl"
ABOUT = (
    "Shares between 0 and 1. known: words and sentences as in the training, in mixtures of colour, shape, motion and "
    "background that it lacks; sentences: the same, in sentences that it lacks; handwritten: "
    "benchmarks/refiner/handwritten.jsonl, typed by hand before the lists of words were made. exact: right to the "
    "letter; slots: right there; protected: words of the user's own that stand in the answer; identity: captions that "
    "stayed as they were; ended: answers that the model ended. dictionary: keywords of the same lists."
)
SEED = 9000


#: set -> who answered -> how well.
Table = Mapping[str, Mapping[str, RequestQuality]]


def measured_sets(num_rows: int, learnt: Sequence[RequestRow] = ()) -> dict[str, list[RequestRow]]:
    """Draw the rows of each set; none has the prompt of a row that was learnt."""
    without = {row.prompt for row in learnt}
    sets = {
        "known": request_rows(SEED, num_rows, held_out=True, without=without),
        "sentences": request_rows(SEED + 1, num_rows, forms="unseen", held_out=True, without=without),
    }
    return sets | ({"handwritten": read_request_rows(HANDWRITTEN)} if HANDWRITTEN.exists() else {})


def measure_language_model(
    folder: Path, sets: Mapping[str, Sequence[RequestRow]]
) -> dict[str, dict[str, RequestQuality]]:
    """Measure a language model and the dictionary, on the CPU."""
    model = open_language_model(folder, device="cpu")
    table = {}
    for name, rows in sets.items():
        answers = model.answers([row.prompt for row in rows], max_tokens=MAX_ANSWER_TOKENS)
        told = measure(rows, [answer.text for answer in answers], [answer.is_ended for answer in answers])
        table[name] = {"pocket-lm": told, "dictionary": _measure(rows, build_dictionary())}
    return table


def write_language_quality(table: Table, path: Path) -> None:
    """Write the table beside the weights."""
    rows = [{"set": name, "by": by, **asdict(told)} for name, each in table.items() for by, told in each.items()]
    write_text(json.dumps({"about": ABOUT, "rows": rows}, indent=1) + "\n", path)


def format_language_quality(table: Table) -> str:
    """Put the table into lines of text."""
    lines = [f"{'set':12} {'by':11} {'rows':>5} {'exact':>6} {'protected':>9} {'identity':>8} {'ended':>6}"]
    for name, each in table.items():
        for by, told in each.items():
            lines.append(
                f"{name:12} {by:11} {told.num_rows:5} {told.exact:6.3f} {told.protected or 0:9.3f} "
                f"{told.identity or 0:8.3f} {told.ended:6.3f}"
            )
    return "\n".join(lines)


def _measure(rows: Sequence[RequestRow], answer: Callable[[str], str]) -> RequestQuality:
    return measure(rows, [answer(row.prompt) for row in rows])
