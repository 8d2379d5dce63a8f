"""A language model that is open: requests in, answers out, the same ones for the same requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from ..checks import first_line
from ..errors import ModelError
from ..wording import said
from .sources import LanguageSource

#: A caption of 200 words is shorter.
MAX_TOKENS = 512
#: (tokens written of an answer, how many at most) -> None
Watch: TypeAlias = "Callable[[int, int], None]"
#: Requests with their answers.
Examples = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What a model has answered.

    Attributes:
        text: without special tokens and the white space around it.
        is_ended: whether the model has ended it, or it was cut.
    """

    text: str
    is_ended: bool
    num_tokens: int


class LanguageModel:
    """A causal language model with its tokenizer; always answers with the likeliest token.

    Attributes:
        network: transformers' model, a peft model around it where there is an adapter.
        digest: a hash of all its files, the adapter's too.
    """

    def __init__(self, source: LanguageSource, network: Any, tokenizer: Any, digest: str) -> None:
        self.source, self.network, self.tokenizer, self.digest = source, network, tokenizer, digest
        if not tokenizer.chat_template:
            remedy = "Take an instruct model, or put a chat_template.jinja into its folder"
            raise ModelError(source.name, "its tokenizer has no chat template", remedy=remedy)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device(self.network.device)

    @property
    def instructions(self) -> str:
        """The system prompt that it was trained with; "" for none."""
        return self.source.card.instructions

    def text_of(self, request: str, instructions: str = "", examples: Examples = ()) -> str:
        """Return what the network reads: the request in the form of the chat template, up to where the answer begins.

        Args:
            request: of the user.
            instructions: the system prompt; "" for none.
            examples: requests with their answers, which it is shown as if they had gone before.

        Raises:
            ModelError: the template cannot say it.
        """
        turns = [{"role": "system", "content": instructions}] if instructions else []
        for asked, answered in examples:
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        turns.append({"role": "user", "content": request})
        try:
            # Models that may think first are asked not to; templates that know no such thing take no notice.
            text = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except Exception as error:  # a program in Jinja, which may raise what it likes
            what = said("its chat template fails: {why}", why=first_line(error))
            raise ModelError(self.source.name, what, remedy="Leave the instructions out, or mend it") from error
        return str(text)

    def count(self, text: str) -> int:
        """Return how many tokens a text has, special ones left out."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def max_positions(self) -> int:
        """How many tokens a request and its answer may have together."""
        return int(getattr(self.network.config, "max_position_embeddings", None) or 1 << 30)

    @torch.inference_mode()
    def answers(
        self,
        requests: Sequence[str],
        instructions: str = "",
        *,
        max_tokens: int = MAX_TOKENS,
        batch_size: int = 32,
        watch: Watch | None = None,
        examples: Examples = (),
    ) -> list[Answer]:
        """Return an answer to each request, each as if it were alone but for rounding.

        Args:
            requests: what is asked.
            instructions: the system prompt, "" for none.
            max_tokens: how long an answer may be.
            batch_size: how many are written at a time.
            watch: called behind every token; what it raises ends the writing.
            examples: requests with their answers, shown before each request.

        Raises:
            ModelError: a request leaves no room for an answer.
        """
        texts = [self.text_of(request, instructions, examples) for request in requests]
        batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
        return [answer for batch in batches for answer in self._batch(batch, max_tokens, watch)]

    def answer(
        self, request: str, instructions: str = "", *, max_tokens: int = MAX_TOKENS, watch: Watch | None = None
    ) -> Answer:
        """Return the answer to one request."""
        return self.answers([request], instructions, max_tokens=max_tokens, watch=watch)[0]

    def _batch(self, texts: list[str], max_tokens: int, watch: Watch | None) -> list[Answer]:
        read = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        ).to(self.device)
        length = read["input_ids"].shape[1]
        room = self.max_positions - length
        if room < 1:
            what = said("the request has {count:,} tokens", count=length)
            expected = said("fewer than {most:,}", most=self.max_positions)
            raise ModelError(self.source.name, what, expected=expected, remedy="Shorten it")
        most = min(max_tokens, room)
        written = self.network.generate(
            input_ids=read["input_ids"],
            attention_mask=read["attention_mask"],
            generation_config=self._greedily(most),
            **({} if watch is None else {"stopping_criteria": [_told_each(watch, length, most)]}),
        )
        return [self._answer(tokens) for tokens in written[:, length:].tolist()]

    def _answer(self, tokens: list[int]) -> Answer:
        end = next((place for place, token in enumerate(tokens) if token in self.end_tokens), None)
        kept = tokens if end is None else tokens[:end]
        text = self.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Answer(text, end is not None, len(kept))

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The tokens that end an answer.

        Raises:
            ModelError: nothing says which.
        """
        stated = self.network.generation_config.eos_token_id
        stated = self.tokenizer.eos_token_id if stated is None else stated
        if stated is None:
            remedy = "State eos_token_id in its generation_config.json"
            raise ModelError(self.source.name, "nothing says which token ends an answer", remedy=remedy)
        return tuple(stated) if isinstance(stated, (list, tuple)) else (stated,)

    def _greedily(self, max_tokens: int) -> Any:
        """Return how to generate, whatever the model's own settings say of chance."""
        from transformers import GenerationConfig

        pad = self.tokenizer.pad_token_id
        return GenerationConfig(
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=list(self.end_tokens),
            pad_token_id=self.end_tokens[0] if pad is None else pad,
        )


def _told_each(watch: Watch, length: int, most: int) -> Any:
    """Return a condition of transformers that ends nothing and tells of every token behind so long a request."""

    def tell(tokens: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        watch(tokens.shape[1] - length, most)
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    return tell
