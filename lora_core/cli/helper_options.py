"""The options of what looks at a prompt before it is made: a guardrail, which looks at the video too, and a refiner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RequestError
from ..wording import said
from .console import console
from .options import Decorator, ModelOptions, group

if TYPE_CHECKING:
    from ..engine.guarding import Guardrail
    from ..families.base import ModelSpec
    from ..refiner.endpoint import EndpointRefiner
    from ..refiner.refined import Refiner


@dataclass(frozen=True)
class GuardOptions:
    """Whether a guardrail is wanted: True, False, or None where nobody says."""

    wanted_guardrail: bool | None

    def choose(self, spec: ModelSpec) -> Guardrail:
        """Return the guardrail of a model's runs, or why there is none; the weights of a wanted one are read.

        Raises:
            ModelError: one is wanted, and it or its weights are not there.
        """
        from ..engine.guarding import NoGuardrail, find_guardrail, open_guardrail
        from ..families.registry import customs_of

        if self.wanted_guardrail:
            return open_guardrail()
        if self.wanted_guardrail is False:
            return NoGuardrail(said("turned off with --no-guardrail"))
        return find_guardrail() if customs_of(spec).guardrail_licence(spec) else None


#: What `--refine` without a model says.
USUAL = ""


@dataclass(frozen=True)
class RefinerOptions:
    """The refiner of prompts, as the shell gives it: a language model, a server, or a command."""

    refine_model: str | None
    refine_adapter: Path | None
    refine_url: str | None
    refiner_command: str | None
    refiner_seconds: float | None

    def refiner(self, video_model: ModelOptions) -> Refiner | None:
        """Return the refiner for a video model; its files, program or address are there.

        Raises:
            RequestError, ModelError: they are not, or several refiners are asked for, or a time is given for none.
        """
        self._check_agreement()
        seconds: dict[str, Any] = {} if self.refiner_seconds is None else {"seconds": self.refiner_seconds}
        if self.refiner_command is not None:
            from ..refiner.command import CommandRefiner

            return CommandRefiner(self.refiner_command, **seconds)
        if self.refine_url is not None:
            return server(self.refine_url, self.refine_model or "", **seconds)
        if self.refine_model is None:
            return None
        from ..refiner.local import LocalRefiner

        return LocalRefiner(self.refine_model or _usual_for(video_model.open().spec), self.refine_adapter)

    def _check_agreement(self) -> None:
        if self.refiner_command is not None:
            for option, given in (("--refine", self.refine_model), ("--refine-url", self.refine_url)):
                if given is not None:
                    raise RequestError(option, "there is --refiner beside it", remedy="Give one of the two")
        if self.refine_adapter is not None and (self.refine_model is None or self.refine_url is not None):
            what = "there is no language model here that it could act on"
            raise RequestError("--refine-adapter", what, remedy="Name that with --refine, or leave it out")
        if self.refiner_seconds is not None and self.refiner_command is None and self.refine_url is None:
            what, remedy = "there is no --refiner and no --refine-url", "Give one, or leave it out"
            raise RequestError("--refiner-seconds", what, remedy=remedy)


def server(url: str, model: str, **settings: Any) -> EndpointRefiner:
    """Return a server as the refiner, and tell where prompts go that leave this machine."""
    from ..refiner.endpoint import EndpointRefiner

    refiner = EndpointRefiner(url, model, **settings)
    if not refiner.is_here:
        console().note(f"prompts leave this machine for {url}")
    return refiner


def _usual_for(spec: ModelSpec) -> str:
    """Return the language model that goes with a video model where nobody names one."""
    from ..refiner.instructions import instructions_for
    from ..refiner.sources import POCKET, POCKET_LM

    if instructions_for(spec) == POCKET:
        return POCKET_LM
    what = said("{title} has no language model of its own", title=spec.title)
    remedy = "Name one: --refine FOLDER or --refine FILE.gguf, or give --refine-url"
    raise RequestError("--refine", what, remedy=remedy)


guard_options: Decorator = group(
    "guard_options",
    GuardOptions,
    click.option(
        "--guardrail/--no-guardrail",
        "wanted_guardrail",
        default=None,
        help="Let cosmos-guardrail stop prompts and blur faces, by default on a Cosmos where it is installed. "
        "Where it is off, the NVIDIA Open Model License asks for one of your own; the record says what ran.",
    ),
)

refiner_options: Decorator = group(
    "refiner_options",
    RefinerOptions,
    click.option(
        "--refine",
        "refine_model",
        is_flag=False,
        flag_value=USUAL,
        metavar="[MODEL]",
        help="Let a language model write the prompt more fully first: pocket-lm, which is meant where none is named, "
        "a folder in Hugging Face's form, or a .gguf. Where it fails, the prompt is used as it was.",
    ),
    click.option(
        "--refine-adapter", type=click.Path(path_type=Path), metavar="FOLDER", help="A LoRA on that language model."
    ),
    click.option(
        "--refine-url",
        metavar="URL",
        help="A server of OpenAI's form that does it, such as http://127.0.0.1:8080; --refine names its model.",
    ),
    click.option(
        "--refiner",
        "refiner_command",
        metavar="COMMAND",
        help="A command that does it: it reads the prompt and prints a fuller one.",
    ),
    click.option("--refiner-seconds", type=float, help="How long server or command may take; by default 120."),
)
