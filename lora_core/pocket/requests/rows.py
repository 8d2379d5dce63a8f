"""Rows of requests and the captions they mean, drawn by a seed: what pocket-lm is trained and measured on.

`kinds` says what a request of each kind says and means; here it is put into a sentence, typed in haste, and written.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...atomic import write_text
from .. import world
from .kinds import PLANS, Draw
from .languages import LANGUAGES
from .noise import spoiled
from .slots import Slots, slots_of
from .speech import Language, Said, filled, loose_form, without_marks

KINDS = tuple(PLANS)
#: How often each kind and language is drawn, among those asked for.
KIND_WEIGHTS = {
    "ordinary": 0.34,
    "good": 0.08,
    "protected": 0.22,
    "underspecified": 0.12,
    "unsupported": 0.16,
    "contradictory": 0.08,
}
LANGUAGE_WEIGHTS = {"en": 0.5, "de": 0.25, "zh": 0.25}
OPENED_SHARE, CLOSED_SHARE, TRIGGER_APART_SHARE, LOOSE_SHARE = 0.3, 0.25, 0.25, 0.3
MAX_TRIES_PER_ROW = 200


@dataclass(frozen=True)
class RequestRow:
    """A request as a user types it, and the caption that answers it; `slots` is the caption, read."""

    prompt: str
    completion: str
    kind: str
    language: str
    protected: tuple[str, ...]
    slots: Slots

    def as_data(self) -> dict[str, object]:
        """Turn the row into what a line of a data set holds."""
        return {
            "prompt": self.prompt,
            "completion": self.completion,
            "kind": self.kind,
            "language": self.language,
            "protected": list(self.protected),
        }


def request_rows(
    seed: int,
    num: int,
    words: str = "known",
    forms: str = "known",
    kinds: Sequence[str] = KINDS,
    languages: Sequence[str] = tuple(LANGUAGES),
    held_out: bool = False,
    without: Collection[str] = (),
) -> list[RequestRow]:
    """Draw rows, no prompt twice.

    words: which lists the words are from, "known", "new" or "unseen"; forms: which sentences, "known" or "unseen".
    held_out: only mixtures of colour, shape, motion and background that no other rows have, as for the videos.
    without: prompts that are in other rows already. There may be fewer rows where there are no more to be had.
    """
    rng = np.random.default_rng(seed)
    seen = set(without)
    rows: list[RequestRow] = []
    for _ in range(num * MAX_TRIES_PER_ROW):
        if len(rows) == num:
            break
        kind, language = _drawn(rng, kinds, KIND_WEIGHTS), _drawn(rng, languages, LANGUAGE_WEIGHTS)
        row = _row(kind, Draw(rng, LANGUAGES[language], words, held_out), int(forms == "unseen"))
        if row.prompt not in seen:
            seen.add(row.prompt)
            rows.append(row)
    return rows


def write_rows(path: str | Path, rows: Sequence[RequestRow]) -> None:
    """Write rows as a data set that `refine train` reads, one JSON object a line."""
    write_text("".join(json.dumps(row.as_data(), ensure_ascii=False) + "\n" for row in rows), path)


def read_request_rows(path: str | Path) -> list[RequestRow]:
    """Read rows that `write_rows` has written, or that were written by hand in the same form."""
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [
        RequestRow(
            line["prompt"],
            line["completion"],
            line["kind"],
            line["language"],
            tuple(line["protected"]),
            slots_of(line["completion"]) or Slots(),
        )
        for line in lines
    ]


def _drawn(rng: np.random.Generator, names: Sequence[str], weights: dict[str, float]) -> str:
    shares = np.array([weights[name] for name in names])
    return str(rng.choice(list(names), p=shares / shares.sum()))


def _row(kind: str, draw: Draw, forms: int) -> RequestRow:
    said, meaning = PLANS[kind](draw)
    if kind == "good":
        protected = tuple(word for word in (*meaning.others, meaning.shape) if word and word not in world.SHAPES)
        return RequestRow(meaning.caption, meaning.caption, kind, "en", protected, meaning)
    text = spoiled(_sentence(said, draw.language, draw.rng, forms), draw.rng)
    prompt, own_words = without_marks(text)
    slots = _with_own_words(meaning, own_words)
    protected = tuple(word for _, word in own_words) if kind == "protected" else ()
    return RequestRow(prompt, slots.caption, kind, draw.language.name, protected, slots)


def _with_own_words(meaning: Slots, own_words: Sequence[tuple[str, str]]) -> Slots:
    for slot, word in own_words:
        if slot in ("motion", "background"):
            meaning = meaning.with_value(slot, word)
    others = tuple(word for slot in ("trigger", "colour", "shape") for place, word in own_words if place == slot)
    if others and others[-1] in world.OWN_COLOURS:
        return replace(meaning, shape=others[-1])
    return replace(meaning, others=others)


def _sentence(said: Said, language: Language, rng: np.random.Generator, forms: int) -> str:
    """Put what is said into a sentence, with what people say before and after it."""
    if said == Said():
        return str(rng.choice(language.nothing[forms].split("|")))
    apart = said.triggers if said.triggers and rng.random() < TRIGGER_APART_SHARE else ()
    body = _body(replace(said, triggers=()) if apart else said, language, rng, forms)
    if apart and rng.random() < 0.5:
        return f"{apart[0]}, {body}"
    if rng.random() < OPENED_SHARE:
        body = str(rng.choice(language.openers[forms].split("|"))) + body
    if apart:
        return body + str(rng.choice(language.trigger_closers)).format(apart[0])
    if rng.random() < CLOSED_SHARE:
        body += str(rng.choice(language.closers[forms].split("|")))
    return body


def _body(said: Said, language: Language, rng: np.random.Generator, forms: int) -> str:
    can_part = len(said.colours) == len(said.shapes) == 1 and not said.triggers
    phrases = language.phrases(said, rng, forms)
    while True:
        is_loose = forms == 0 and rng.random() < LOOSE_SHARE
        form = loose_form(language.loose, language.joints, rng) if is_loose else str(rng.choice(language.forms[forms]))
        if not can_part and "{colour}" in form:
            continue
        if text := filled(form, phrases):
            return text
