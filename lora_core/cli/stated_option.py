"""What the shell says of a LoRA beside its file, as options."""

from __future__ import annotations

import click

from ..files.stated import StatedLora, modules_in
from .options import Decorator, TextValue, group


def stated_options(*, short: bool = False) -> Decorator:
    """Give a command `--lora-rank`, `--lora-alpha` and `--lora-target-modules`; they arrive as one `stated`.

    With `short` the first two are also called `--rank` and `--alpha`, where a command has one LoRA only.
    """
    rank, alpha = (("--rank",), ("--alpha",)) if short else ((), ())
    return group(
        "stated",
        StatedLora,
        click.option(
            *rank, "--lora-rank", "rank", type=int, help="The rank of its training, compared with the file's."
        ),
        click.option(
            *alpha,
            "--lora-alpha",
            "alpha",
            type=float,
            help="The alpha of its training; without, what the file says or the rank.",
        ),
        click.option(
            "--lora-target-modules",
            "target_modules",
            metavar="NAME,…",
            default=(),
            type=TextValue("modules", modules_in),
            help="The layers it was trained on, such as q_proj,mlp.layer1, compared with the file's and the model's.",
        ),
    )
