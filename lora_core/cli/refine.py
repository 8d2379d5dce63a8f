"""The commands on prompts: `refine "a cat"` writes one more fully, and shows what became of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic import check_target, is_stdout, write_text
from ..checks import one_line
from ..errors import RequestError
from ..refiner.instructions import instruction_names
from .console import console
from .helper_options import server
from .options import StackOptions, stack_options
from .refine_compare import compare_command
from .refine_train import rows_command, train_command
from .verb import DefaultedGroup, Verb

if TYPE_CHECKING:
    from ..refiner.refined import Refined, Refiner

_PATH = click.Path(path_type=Path)
#: How much of a prompt a terminal is shown, in letters.
_SHOWN = 2000
#: What the shell calls each of the settings of a refiner that not all kinds of them have.
_OPTIONS = {
    "model": "--model",
    "adapter": "--adapter",
    "instructions": "--instructions",
    "max_tokens": "--max-tokens",
    "anew": "--anew",
    "url": "--refine-url",
    "seconds": "--refiner-seconds",
}


@click.group("refine", cls=DefaultedGroup, default="text")
def command() -> None:
    """Write prompts more fully: `refine "a cat"` does what `refine text "a cat"` does.

    A prompt that is called like one of the commands is given behind `text`.
    """


_EXAMPLES = (
    'lora-core refine "crimson ball rising over zebra lines"',
    'lora-core refine "a lilac zibbo, going up" --lora zibbo_character --json -',
)


@command.command("text", cls=Verb, examples=_EXAMPLES)
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option("--model", help="pocket-lm (the default), a folder in Hugging Face's form, a .gguf; a server's own name.")
@click.option("--adapter", type=_PATH, metavar="FOLDER", help="A LoRA on the model.")
@click.option(
    "--instructions",
    metavar="NAME|FILE",
    help=f"What the model is told to do: {', '.join(instruction_names())}, or a text file; by default what it was "
    "trained with, else what suits texts alone.",
)
@click.option("--max-tokens", type=int, help="How long an answer may be; one that is longer does not count.")
@click.option("--anew", is_flag=True, help="Ask the model again, also where its answer is kept.")
@click.option("--refine-url", "url", metavar="URL", help="A server of OpenAI's form, such as http://127.0.0.1:8080.")
@click.option("--refiner", "refiner_command", metavar="COMMAND", help="A command: prompt in, prompt out.")
@click.option("--refiner-seconds", "seconds", type=float, help="How long server or command may take; by default 120.")
@click.option("--keep", "kept", multiple=True, metavar="WORD", help="A word that has to stay; repeat for more.")
@click.option("--language", default="", help="What the answer has to be in, such as en, de or zh.")
@stack_options
@click.option("--json", "record_file", type=_PATH, help="Write before and after as JSON; - for the standard output.")
def text(
    prompts: tuple[str, ...],
    kept: tuple[str, ...],
    language: str,
    lora_options: StackOptions,
    record_file: Path | None,
    **asked: Any,
) -> None:
    """Write each PROMPT more fully, and show it before and after.

    Quoted text, numbers, the trigger words of LoRAs and what --keep names have to stay. Where one is lost, or the
    answer is empty, endless or in another language, the prompt is used as it was, and why is said.
    """
    from ..refiner.refine import held_open, refine

    if record_file is not None and not is_stdout(record_file):
        check_target(record_file)
    refiner = _Asked(**asked).refiner()
    words = (*kept, *_trigger_words(lora_options))
    rows = []
    with held_open(refiner):
        for prompt in prompts:
            refined = refine(prompt, refiner, protected=words, language=language)
            rows.append(refined.row())
            _show(refined, as_note=record_file is not None and is_stdout(record_file))
    if record_file is not None:
        write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", record_file)


@dataclass(frozen=True)
class _Asked:
    """The refiner, as the options of `refine text` give it."""

    model: str | None
    adapter: Path | None
    instructions: str | None
    max_tokens: int | None
    anew: bool
    url: str | None
    refiner_command: str | None
    seconds: float | None

    def refiner(self) -> Refiner:
        """Return it, or say which of the options do not go together."""
        limit: dict[str, Any] = {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        seconds: dict[str, Any] = {} if self.seconds is None else {"seconds": self.seconds}
        if self.refiner_command is not None:
            self._refuse("--refiner", "model", "adapter", "instructions", "max_tokens", "anew", "url")
            from ..refiner.command import CommandRefiner

            return CommandRefiner(self.refiner_command, **seconds)
        if self.url is not None:
            self._refuse("--refine-url", "adapter", "anew")
            return server(self.url, self.model or "", instructions=self.instructions, **limit, **seconds)
        self._refuse("a language model", "seconds")
        from ..refiner.local import LocalRefiner
        from ..refiner.sources import POCKET_LM

        model, is_cached = self.model or POCKET_LM, not self.anew
        return LocalRefiner(model, self.adapter, instructions=self.instructions, is_cached=is_cached, **limit)

    def _refuse(self, beside: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) not in (None, False):
                raise RequestError(_OPTIONS[name], f"it would do nothing with {beside}", remedy="Leave it out")


def _trigger_words(lora_options: StackOptions) -> tuple[str, ...]:
    """Return the trigger words of LoRAs, which are found and not loaded."""
    stack = lora_options.stack()
    if not len(stack):
        return ()
    from ..stack.trigger_words import words_of_stack

    return words_of_stack(stack)


def _show(refined: Refined, *, as_note: bool) -> None:
    tell = console().note if as_note else console().result
    tell(f"before: {_printable(refined.given)}")
    tell(f"after:  {_printable(refined.prompt)}")
    if refined.kept:
        tell(f"kept:   {', '.join(refined.kept)}")
    if refined.fault:
        console().fault(refined.note())


def _printable(text: str) -> str:
    """Return a prompt as a terminal can show it, only the beginning of one that is too long for any model."""
    shown = text[:_SHOWN]
    return "\n".join(one_line(line, _SHOWN) for line in shown.splitlines()) + "…" * (len(shown) < len(text))


command.add_command(train_command)
command.add_command(rows_command)
command.add_command(compare_command)
