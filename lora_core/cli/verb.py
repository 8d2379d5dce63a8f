"""A verb of the command line: a command whose help ends with examples, or several under one name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem


class Verb(click.Command):
    """A command with examples, each of which runs as it is written, on the embedded model and files of the project."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                for line in example.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class DefaultedGroup(click.Group):
    """Commands under one name, of which one runs where none is named: `prepare CLIPS` is `prepare encode CLIPS`."""

    def __init__(self, *args: Any, default: str, **settings: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **settings})
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_completing_first = not args and ctx.resilient_parsing
        if not is_completing_first and not {*args[:1]} & {*self.commands, *ctx.help_option_names}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the commands, and what the default one takes: its options, or what its first argument names."""
        default = self.commands[self.default]
        argument = next(parameter for parameter in default.params if isinstance(parameter, click.Argument))
        taken: click.Command | click.Parameter = default if incomplete.startswith("-") else argument
        with click.Context(default, info_name=self.default, parent=ctx, resilient_parsing=True) as inner:
            return [*super().shell_complete(ctx, incomplete), *taken.shell_complete(inner, incomplete)]
