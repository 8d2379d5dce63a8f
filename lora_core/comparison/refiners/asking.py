"""What a language model, or anything else that answers requests, has answered to the sets of questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...pocket.requests.measure import measure
from ...pocket.requests.rows import RequestRow

if TYPE_CHECKING:
    from ...refiner.language_model import LanguageModel

Questions = Mapping[str, Sequence[RequestRow]]
#: No caption of the pocket is as long.
MAX_TOKENS = 96
_BATCH_SIZE = 64


@dataclass(frozen=True)
class Answers:
    """The answers to one set.

    Attributes:
        texts: one a question.
        ended: whether whoever answered ended it.
        seconds: that all of them took together.
    """

    texts: tuple[str, ...]
    ended: tuple[bool, ...]
    seconds: float


def answers_of_model(
    model: LanguageModel,
    prompts: Sequence[str],
    system: str = "",
    examples: Sequence[tuple[str, str]] = (),
    before_each: Callable[[], None] = lambda: None,
) -> Answers:
    """Ask a language model, the longest requests together; `before_each` batch something may raise to stop."""
    started = time.perf_counter()
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].encode()))
    found: dict[int, tuple[str, bool]] = {}
    for start in range(0, len(order), _BATCH_SIZE):
        before_each()
        few = order[start : start + _BATCH_SIZE]
        asked = [prompts[place] for place in few]
        told = model.answers(asked, system, max_tokens=MAX_TOKENS, batch_size=_BATCH_SIZE, examples=examples)
        found.update({place: (answer.text, answer.is_ended) for place, answer in zip(few, told, strict=True)})
    texts, ended = zip(*(found[place] for place in range(len(prompts))), strict=True)
    return Answers(texts, ended, time.perf_counter() - started)


def answers_of_function(answer: Callable[[str], str], prompts: Sequence[str]) -> Answers:
    """Ask what answers one request at a time, and always ends."""
    started = time.perf_counter()
    texts = tuple(answer(prompt) for prompt in prompts)
    return Answers(texts, (True,) * len(texts), time.perf_counter() - started)


def measured(rows: Sequence[RequestRow], answers: Answers) -> dict[str, Any]:
    """Return how good the answers to a set are, ready for JSON."""
    return asdict(measure(rows, answers.texts, answers.ended))


def all_measured(
    questions: Questions, ask: Callable[[Sequence[str]], Answers]
) -> tuple[dict[str, Any], dict[str, list[str]], float | None]:
    """Ask every set; return set -> how good the answers are, set -> the answers, and the seconds an answer took."""
    found = {name: ask([row.prompt for row in rows]) for name, rows in questions.items()}
    num = sum(len(answers.texts) for answers in found.values())
    seconds = sum(answers.seconds for answers in found.values()) / num if num else None
    texts = {name: list(answers.texts) for name, answers in found.items()}
    return {name: measured(rows, found[name]) for name, rows in questions.items()}, texts, seconds
