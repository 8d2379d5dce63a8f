"""The requests that lie in the repository: those typed by hand, and the example that a tuning learns."""

from collections import Counter
from pathlib import Path

from lora_core.pocket.requests.examples import example_rows, write_examples
from lora_core.pocket.requests.languages import LANGUAGES
from lora_core.pocket.requests.rows import KINDS, read_request_rows, request_rows
from lora_core.pocket.requests.slots import slots_of

ROOT = Path(__file__).parents[3]
HANDWRITTEN = read_request_rows(ROOT / "benchmarks" / "refiner" / "handwritten.jsonl")


def test_enough_requests_were_typed_by_hand_of_every_kind_and_language() -> None:
    assert len(HANDWRITTEN) >= 120
    assert len({row.prompt for row in HANDWRITTEN}) == len(HANDWRITTEN)
    assert set(KINDS) == {row.kind for row in HANDWRITTEN}
    languages = Counter(row.language for row in HANDWRITTEN)
    assert set(languages) == set(LANGUAGES)
    assert min(languages.values()) >= 20


def test_labels_of_requests_typed_by_hand_are_captions() -> None:
    for row in HANDWRITTEN:
        assert slots_of(row.completion) is not None, row
        assert all(word in row.prompt and word in row.completion.split() for word in row.protected), row
        assert (row.prompt == row.completion) == (row.kind == "good"), row


def test_no_request_typed_by_hand_is_learnt() -> None:
    """Captions aside, of which there are 440. All rows of the training take minutes to draw; these begin them."""
    typed = {row.prompt for row in HANDWRITTEN if row.kind != "good"}
    learnt = {row.prompt for row in request_rows(1, 1500)}
    learnt |= {text for language in LANGUAGES.values() for texts in language.nothing for text in texts.split("|")}
    assert not typed & learnt


def test_the_example_is_what_the_generator_gives(tmp_path: Path) -> None:
    write_examples(tmp_path)
    for name in example_rows():
        assert (tmp_path / name).read_text("utf-8") == (ROOT / "examples" / "refiner" / name).read_text("utf-8"), name
