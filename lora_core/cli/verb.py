"""A verb of the command line: a command whose help ends with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


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
