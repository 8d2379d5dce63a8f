"""The options of what looks at a prompt before it is made: a guardrail, which looks at the video too, and a refiner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..errors import RequestError
from ..wording import said
from .options import Decorator, group

if TYPE_CHECKING:
    from ..engine.guarding import Guardrail
    from ..families.base import ModelSpec
    from ..refiner.command import CommandRefiner


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


@dataclass(frozen=True)
class RefinerOptions:
    """The refiner of prompts, as the shell gives it."""

    refiner_command: str | None
    refiner_seconds: float | None

    def refiner(self) -> CommandRefiner | None:
        """Return the refiner, whose program is there.

        Raises:
            RequestError: it is not, or a time is given for none.
        """
        from ..refiner.command import SECONDS, CommandRefiner

        if self.refiner_command is None:
            if self.refiner_seconds is not None:
                raise RequestError("--refiner-seconds", "there is no --refiner", remedy="Give one, or leave it out")
            return None
        return CommandRefiner(self.refiner_command, SECONDS if self.refiner_seconds is None else self.refiner_seconds)


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
        "--refiner",
        "refiner_command",
        metavar="COMMAND",
        help="A command that reads the prompt and prints a fuller one; where it fails, the prompt is used as it was.",
    ),
    click.option("--refiner-seconds", type=float, help="How long it may take; by default 120."),
)
