"""Examples: rows as a network is given them, tokens with labels that are the answers alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...checks import first_line
from ...errors import DatasetError, ModelError
from ...wording import said
from .row import Row, Turn

#: The label of a token that nothing is learnt from.
IGNORED = -100
_MARK = re.compile(r"\{%-?\s*generation\b")
_CORRECT = "Correct the row"


@dataclass(frozen=True)
class Example:
    """The tokens of a row.

    Attributes:
        labels: the tokens of the answers with what ends them, IGNORED elsewhere.
    """

    input_ids: list[int]
    labels: list[int]

    @property
    def asked(self) -> list[int]:
        """The tokens up to where the first answer begins."""
        return self.input_ids[: next(place for place, label in enumerate(self.labels) if label != IGNORED)]

    @property
    def num_learnt(self) -> int:
        """How many tokens are learnt from."""
        return sum(label != IGNORED for label in self.labels)

    def row(self) -> dict[str, list[int]]:
        """Return it as a trainer's dataset has it."""
        return {"input_ids": self.input_ids, "labels": self.labels}


@dataclass(frozen=True)
class ExampleMaker:
    """What makes examples of rows, in the form of a model's chat template.

    A request has the tokens that it has when the model is asked, whatever stands behind it.

    Attributes:
        name: of the model, for errors.
        tokenizer: transformers', with a chat template.
        end_tokens: any of them ends an answer.
        system: the system prompt before every row; "" for the rows' own, or none.
    """

    name: str
    tokenizer: Any
    end_tokens: tuple[int, ...]
    system: str = ""

    def example(self, row: Row) -> Example:
        """Return a row as tokens.

        Raises:
            ModelError: the template cannot say it, or says something else of a request once it is answered.
            DatasetError: an answer of it has no end, or it has a system prompt beside the one for all.
        """
        if row.num_answers > 1:
            return self._of_several(row)
        asked, whole = self._text(self._turns(row.asked), ends=True), self._text(self._turns(row.turns))
        unthought = self._text(self._turns(row.asked), ends=True, thinks=True)
        if not whole.startswith(asked) and whole.startswith(unthought):
            whole = asked + whole[len(unthought) :]  # an empty thought stands in what is asked alone
        if not whole.startswith(asked):
            what = "its chat template writes a request otherwise once it is answered"
            raise ModelError(self.name, what, remedy="Mend it, so that the answer only comes behind the request")
        before, tokens = self._tokens(asked), self._tokens(whole)
        if tokens[: len(before)] != before:  # tokens that reach over the border; a model that is asked has not those
            tokens = before + self._tokens(whole[len(asked) :])
        answer = self._ended(tokens[len(before) :], row)
        return Example(before + answer, [IGNORED] * len(before) + answer)

    def _of_several(self, row: Row) -> Example:
        """Return a row of several answers, whose places the template has to mark."""
        template = str(self.tokenizer.chat_template)
        if not _MARK.search(template):
            what = said("its chat template marks no answers, and line {line} has several", line=row.line)
            remedy = "Put {% generation %} and {% endgeneration %} around them in it, or give rows of one answer"
            raise ModelError(self.name, what, remedy=remedy)
        read = self.tokenizer.apply_chat_template(
            self._turns(row.turns), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        tokens, marks = list(read["input_ids"]), list(read["assistant_masks"])
        for place in range(1, len(tokens)):  # where the end stands behind the mark, it belongs to the answer still
            if marks[place - 1] and not marks[place] and tokens[place] in self.end_tokens:
                marks[place] = int(tokens[place - 1] not in self.end_tokens)
        labels = [token if mark else IGNORED for token, mark in zip(tokens, marks, strict=True)]
        ends = [a for a, b in zip(labels, [*labels[1:], IGNORED], strict=True) if a != IGNORED and b == IGNORED]
        if len(ends) < row.num_answers or not {*ends} <= {*self.end_tokens}:
            raise _without_end(row)
        return Example(tokens, labels)

    def _ended(self, answer: list[int], row: Row) -> list[int]:
        """Return the tokens of an answer up to its end; a template may write a line break behind it."""
        ends = [place for place, token in enumerate(answer) if token in self.end_tokens]
        if not ends:
            raise _without_end(row)
        if len(ends) > 1:
            raise DatasetError(f"line {row.line}", "the answer holds the model's end token itself", remedy=_CORRECT)
        return answer[: ends[0] + 1]

    def _turns(self, turns: tuple[Turn, ...]) -> list[dict[str, str]]:
        if not self.system:
            return [turn.message() for turn in turns]
        if turns[0].role == "system":
            what, remedy = "it has a system prompt, beside the one for all rows", "Leave one of them out"
            raise DatasetError("system", what, remedy=remedy)
        return [Turn("system", self.system).message(), *(turn.message() for turn in turns)]

    def _text(self, turns: list[dict[str, str]], *, ends: bool = False, thinks: bool = False) -> str:
        """Return turns as the template writes them; models that may think are asked not to, as when used."""
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    turns, tokenize=False, add_generation_prompt=ends, enable_thinking=thinks
                )
            )
        except Exception as error:  # a program in Jinja, which may raise what it likes
            what = said("its chat template fails: {why}", why=first_line(error))
            raise ModelError(self.name, what, remedy="Leave the system prompt out, or mend it") from error

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _without_end(row: Row) -> DatasetError:
    what = "the answer has no token that ends it, and a model that learns it would never stop"
    remedy = "Give a chat template that ends answers with the model's end token"
    return DatasetError(f"line {row.line}", what, remedy=remedy)
