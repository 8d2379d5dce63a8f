"""A row: a conversation that ends with an answer, which is what a language model learns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """What one side says; `role` is system, user or assistant."""

    role: str
    content: str

    def message(self) -> dict[str, str]:
        """Return it as chat templates have it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Row:
    """One conversation of a file.

    Attributes:
        turns: the last is the assistant's.
        line: where it stands, from 1.
        kind: of the request, for people and measures; training does not look at it.
        language: of the request, likewise.
        protected: what an answer must say word for word, likewise.
    """

    turns: tuple[Turn, ...]
    line: int
    kind: str = ""
    language: str = ""
    protected: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[Turn, ...]:
        """All that comes before the last answer."""
        return self.turns[:-1]

    @property
    def prompt(self) -> str:
        """The request that the last answer is to."""
        return self.turns[-2].content

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.turns[-1].content

    @property
    def num_answers(self) -> int:
        """How many answers it has."""
        return sum(turn.role == "assistant" for turn in self.turns)
