"""The group of commands and what they share: quiet, debug, and how an error ends the program.

Exit codes: 0 done, 1 an error in the user's files or settings, 2 wrong usage, 130 interrupted or told to end.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import NoReturn

import click

from ..checkpoints.quiet import hush
from ..errors import LoraCoreError
from .console import Console
from .ending import INTERRUPTED, end_as_with_ctrl_c, unforeseen

#: command name -> (module of this package that holds it, one line of help)
COMMANDS = {
    "generate": "Make a video from a prompt, a model and a stack of LoRAs.",
    "batch": "Make the videos of a list of jobs, here, by many workers, or by ComfyUI servers.",
    "video2world": "Go on from a picture, or from the end of a video.",
    "grid": "Make clips over one or two axes, side by side, what they share made once.",
    "refine": "Write a prompt more fully, by a language model.",
    "inspect": "Show what is in a LoRA file and what of it fits a model.",
    "convert": "Write a LoRA file in another dialect.",
    "extract": "Write the difference of two checkpoints as a LoRA.",
    "extract-cosmos": "Take the LoRA out of a checkpoint of NVIDIA's post-training.",
    "merge": "Write a stack of LoRAs as one file.",
    "resize": "Write a LoRA with fewer ranks.",
    "transfer": "Put a LoRA on another base of the same shapes.",
    "plan": "Show which expert and which strengths act at each step, without running a model.",
    "balance": "Measure how the LoRAs of a stack go together, and propose strengths.",
    "ablate": "Make a clip without each LoRA of a stack, to see which one spoils it.",
    "prepare": "Examine a folder of clips and encode it for training; create, validate or convert one.",
    "stack": "Check a stack file or preset.",
    "train": "Train LoRAs, or whole weights, of both experts from a folder of clips.",
    "compare": "Train with several methods side by side, and report what each costs and leads to.",
    "lengths": "Measure a model at several lengths, with and without a LoRA, dense and radial.",
    "demo": "Run the main job on the embedded pocket model and show what each LoRA does.",
}


class LazyCommands(click.Group):
    """Commands whose modules are imported only when they are asked for, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name.replace('-', '_')}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quiet", "-q", is_flag=True, help="Print results and errors only, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Also print what is read, planned and written.")
@click.option("--debug", is_flag=True, help="Show Python tracebacks of errors.")
@click.version_option(package_name="wanloom", prog_name="lora-core")
@click.pass_context
def cli(ctx: click.Context, quiet: bool, verbose: bool, debug: bool) -> None:
    """Stack and route LoRAs over Wan 2.2's two noise experts, and stack them on Cosmos Predict2 and HunyuanVideo."""
    ctx.obj = Console(quiet=quiet)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")
    hush()


def main() -> NoReturn:
    """Run the command line and exit; an error is one line on stderr, without a traceback."""
    end_as_with_ctrl_c()
    try:
        code = cli.main(prog_name="lora-core", standalone_mode=False)  # what a command gave to ctx.exit
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
        code = 130
    except BrokenPipeError:  # `lora-core inspect ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where the interpreter flushes to when it ends
        code = 1
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        print(f"Error: {error if isinstance(error, LoraCoreError) else unforeseen(error)}", file=sys.stderr)
        code = 1
    sys.exit(code)
