"""Where and when LoRAs act, as words of the shell: a LoRA's name and a region, or a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..errors import StackError, located
from ..stack.entry import LoraEntry
from ..stack.region import Region
from ..stack.row_files import with_found_files
from ..stack.stack import LoraStack
from ..stack.time_curve import TimeCurve

PLACE_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option(
        "--region",
        "regions",
        multiple=True,
        metavar="NAME=REGION",
        help="Let a LoRA of the stack act in a part of the picture: left, top-right, 0,0,0.5,1 or a mask's file.",
    ),
    click.option(
        "--time",
        "times",
        multiple=True,
        metavar="NAME=TIME",
        help='Let a LoRA of the stack act in a part of the clip: "from 2s", "until frame 33", "0s=0,2s=1".',
    ),
)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command both options."""
    for option in reversed(PLACE_OPTIONS):
        command = option(command)
    return command


def placed(
    stack: LoraStack, regions: Sequence[str], times: Sequence[str], lora_folders: Sequence[Path] = ()
) -> LoraStack:
    """Give LoRAs of a stack, by their names, regions and times; masks are found where LoRAs are."""
    placed_rows: set[str] = set()
    for text in regions:
        with located("--region"):
            row, value = _row_and_value(stack, text, placed_rows)
            region = Region.parse(value)
        row = with_found_files(replace(row, region=region, mask_sha256=None), lora_folders)
        stack = stack.replace(row.name, row)
    timed_rows: set[str] = set()
    for text in times:
        with located("--time"):
            row, value = _row_and_value(stack, text, timed_rows)
            stack = stack.replace(row.name, replace(row, over_time=TimeCurve.parse(value)))
    return stack


def _row_and_value(stack: LoraStack, text: str, seen: set[str]) -> tuple[LoraEntry, str]:
    """Take `NAME=value` apart, NAME being that of a LoRA in the stack which the option has not `seen` yet."""
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise StackError(repr(text), "it names no LoRA", expected="NAME=VALUE", remedy="Write a LoRA's name before it")
    row = stack[name.strip()]
    if row.name in seen:
        raise StackError(row.name, "it is given twice", expected="once for each LoRA", remedy="Leave one of them out")
    if not row.enabled:
        raise StackError(row.name, "it is off in the stack", remedy="Switch it on there, or leave the option out")
    seen.add(row.name)
    return row, value.strip()
