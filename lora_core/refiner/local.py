"""A refiner that is a language model on this machine: opened when it is asked, and out of memory behind the answer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..checks import whole_number
from ..errors import RequestError
from .answers import MAX_ROWS, Question, keep_answer, kept_answer
from .card import RefinerCard
from .instructions import Instructions, find_instructions, usual_instructions
from .language_model import MAX_TOKENS, Answer, LanguageModel, Watch
from .languages import language_of
from .opening import Base, digest_of, open_language_model
from .reply import prompt_in
from .sources import POCKET_LM, find_language_source


class Desk:
    """Where an open model lies: from the first question until the last `with` block around it has ended."""

    def __init__(self) -> None:
        self.model: LanguageModel | None = None
        self.answers: dict[Question, Answer] = {}
        self.depth = 0
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process without the model."""
        return (Desk, ())

    def remember(self, question: Question, answer: Answer) -> None:
        """Keep an answer for as long as the refiner is kept, of many the last ones."""
        self.answers[question] = answer
        if len(self.answers) > MAX_ROWS:
            self.answers.pop(next(iter(self.answers)))

    def close(self) -> None:
        """Let the model leave the memory, and the device."""
        self.model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class LocalRefiner:
    """A language model from local files; it always takes the likeliest token, so a prompt is refined alike every time.

    It is opened when an answer is not kept yet, and leaves memory and device behind it; a `with` block keeps it open
    for several prompts. Threads take turns.

    Attributes:
        model, adapter, base, device: as `open_language_model` takes them.
        instructions: the system prompt: a name of ours ("cosmos"), a file, or a text; "" for none, and None for the
            one that the model was trained with, or else the usual one.
        max_tokens: how long an answer may be.
        is_cached: whether answers are kept, and taken from those that are.
        protected: what it is told to leave as it is.
        watch: called behind every token that it writes; what it raises ends the writing.

    Raises:
        ModelError: there is no such model.
        RequestError: there are no such instructions.
    """

    model: str | Path = POCKET_LM
    adapter: str | Path | None = None
    base: Base = "full"
    device: str | None = None
    instructions: str | None = None
    max_tokens: int = MAX_TOKENS
    is_cached: bool = True
    protected: tuple[str, ...] = ()
    watch: Watch | None = field(default=None, repr=False, compare=False)
    desk: Desk = field(default_factory=Desk, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole_number(self.max_tokens, "refiner max_tokens", RequestError, low=1)
        self.told  # noqa: B018  # what is not there is said before anything is made

    @property
    def digest(self) -> str:
        """A hash of all its files."""
        return digest_of(find_language_source(self.model, adapter=self.adapter), self.base)

    @property
    def told(self) -> Instructions:
        """Its instructions, those of its training where none are given."""
        card = self._card()
        if self.instructions is not None:
            return find_instructions(self.instructions)
        if card == RefinerCard():
            return find_instructions(usual_instructions())
        return Instructions("", card.instructions, (card.language,) if card.language else ())

    @property
    def system(self) -> str:
        """The system prompt; a model that was trained with one is told no more than that."""
        told = self.told
        return told.text if told.text == self._card().instructions else told.keeping(self.protected)

    @property
    def name(self) -> str:
        """What a record calls it."""
        adapter = "" if self.adapter is None else f" + {Path(self.adapter).name}"
        return f"{Path(self.model).name}{adapter} {self.digest.split('-', 1)[1][:12]}{self.told.suffix}"

    def language_for(self, prompt: str) -> str:
        """Return the language that its answer has to be in; "" where nobody says."""
        return self.told.language_for(language_of(prompt))

    def writing_as(self, instructions: str) -> LocalRefiner:
        """Return the same refiner with other instructions; itself where it has some, given or of its training."""
        has_own = self.instructions is not None or self._card() != RefinerCard()
        return self if has_own else replace(self, instructions=instructions)

    def protecting(self, words: Sequence[str]) -> LocalRefiner:
        """Return the same refiner, told of words that stay as they are; the model is open for both."""
        return replace(self, protected=tuple(words))

    def __enter__(self) -> LocalRefiner:
        with self.desk.lock:
            self.desk.depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        with self.desk.lock:
            self.desk.depth -= 1
            if not self.desk.depth:
                self.desk.close()

    def __call__(self, prompt: str) -> str:
        """Return what the model makes of a prompt.

        Raises:
            ModelError: it cannot be opened, or has no room for the prompt.
            RequestError: the answer is none.
        """
        system = self.system
        answer = self._answer(Question(self.digest, system, prompt, self.max_tokens))
        return prompt_in(answer.text, prompt, system, is_ended=answer.is_ended, max_tokens=answer.num_tokens)

    def _answer(self, question: Question) -> Answer:
        with self.desk.lock:
            known = (self.desk.answers.get(question) or kept_answer(question)) if self.is_cached else None
            if known is None:
                known = self._asked(question)
            if self.is_cached:
                self.desk.remember(question, known)
        return known

    def _asked(self, question: Question) -> Answer:
        with self:
            if self.desk.model is None:
                self.desk.model = open_language_model(
                    self.model, adapter=self.adapter, base=self.base, device=self.device
                )
            answer = self.desk.model.answer(
                question.request, question.system, max_tokens=self.max_tokens, watch=self.watch
            )
        if self.is_cached:
            keep_answer(question, answer)
        return answer

    def _card(self) -> RefinerCard:
        return find_language_source(self.model, adapter=self.adapter).card
