"""What `merge` and `resize` have in common: how small, in which dtype and dialect, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..atomic import check_target
from ..errors import OutputError, StackError
from ..files.dialects import DIALECTS, WriteDialect
from .options import TextValue, group

if TYPE_CHECKING:
    from ..merging.bases import ReadBaseOf
    from ..merging.recipe import MergeRecipe

_PATH = click.Path(path_type=Path)
_DTYPES = ("auto", "float16", "bfloat16", "float32")
_METHODS = ("concat", "svd", "ties", "dare", "knots")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class MergeOptions:
    """How small a file shall be, and how it is written."""

    rank: int | None
    energy: float | None
    size: int | None
    dtype: str
    dialect: WriteDialect
    report: Path | None
    layers: bool
    force: bool
    allow_partial: bool

    def recipe(self, method: str | None = None, density: float | None = None, seed: int | None = None) -> MergeRecipe:
        """Return what is asked for, checked."""
        import torch

        from ..merging.recipe import MergeRecipe

        dtype: torch.dtype | None = None if self.dtype == "auto" else getattr(torch, self.dtype)
        return MergeRecipe(method, self.rank, self.energy, self.size, density, seed, dtype)  # type: ignore[arg-type]  # checked

    def check(self, path: Path) -> None:
        """Refuse a name that is none for a LoRA file, and to replace a file unless that is wanted."""
        from ..files.write import checked_name

        checked_name(path)
        for file in (path, *([] if self.report is None else [self.report])):
            if check_target(file).exists() and not self.force:
                raise OutputError(file, "exists already", remedy="Choose another name, or pass --force")


def parse_bytes(text: str) -> int:
    """Read a size such as 200MB, 1.5 GiB or 120000."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in _UNITS:
        raise StackError("--size", f"{text!r} is no size", expected="such as 200MB or 1.5GiB", remedy="Correct it")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def base_named(model: str | None) -> ReadBaseOf | None:
    """Return what reads the weights of a model that is more than a name; nothing is opened before it is needed."""
    from ..families.registry import spec_names
    from ..merging.bases import base_of_model

    return None if model is None or model in spec_names() else base_of_model(model)


merge_options = group(
    "merge_options",
    MergeOptions,
    click.option("--rank", type=int, help="Of every layer; one of fewer ranks keeps its own."),
    click.option("--energy", type=float, help="Give each layer the fewest ranks that hold this share of its squares."),
    click.option(
        "--size", type=TextValue("size", parse_bytes), help="Give each file the ranks that matter most in, say, 200MB."
    ),
    click.option("--dtype", type=click.Choice(_DTYPES), default="auto", show_default=True, help="Of its tensors."),
    click.option(
        "--to", "dialect", type=click.Choice(DIALECTS), default="comfyui", show_default=True, help="The dialect."
    ),
    click.option("--report", type=_PATH, help="Write the error of every layer, JSON."),
    click.option("--layers", is_flag=True, help="Print the error of every layer, not of the worst alone."),
    click.option("--force", is_flag=True, help="Replace files that exist."),
    click.option("--allow-partial", is_flag=True, help="Leave out tensors that match nothing; they are named."),
)


def method_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of how changes become one."""
    options = (
        click.option(
            "--method",
            type=click.Choice(_METHODS),
            help="concat is exact, svd the nearest of fewer ranks; ties, dare and knots let contradictions give way.",
        ),
        click.option("--density", type=float, help="The share that ties, dare and knots keep; by default 0.5."),
        click.option("--seed", type=int, help="Of what dare keeps; by default 0."),
    )
    for option in reversed(options):
        command = option(command)
    return command
