"""The command `compare`: methods of training side by side, with what each costs and leads to."""

from __future__ import annotations

from pathlib import Path

import click

from .console import console
from .ending import asked_to_end
from .set_option import set_option
from .verb import Verb

_PATH = click.Path(path_type=Path)


@click.command(
    "compare",
    cls=Verb,
    examples=("lora-core compare examples/compare.toml -o out/compare",),
)
@click.argument("config_file", type=_PATH, metavar="CONFIG.toml")
@click.option("--out", "-o", type=_PATH, required=True, help="The folder of the comparison.")
@click.option("--report", type=_PATH, metavar="FILE.md", help="Write the report there too, its pictures in images/.")
@set_option
@click.option("--cache", type=_PATH, help="Where encoded clips are kept; by default in the folder of clips.")
def command(config_file: Path, out: Path, report: Path | None, settings: tuple[str, ...], cache: Path | None) -> None:
    """Train with each method of CONFIG.toml, sweep the learning rates, repeat the best with other seeds, and report.

    What is finished in OUT is not done again, and a training that was cut goes on: after Ctrl-C run the same line.
    """
    from ..comparison.compare import compare
    from ..comparison.config import read_comparison
    from ..comparison.report import check_report, write_report

    config = read_comparison(config_file, settings)
    if report is not None:
        check_report(report)
    with console().progress() as progress, asked_to_end() as should_stop:
        compared = compare(config, out, cache=cache, progress=progress, tell=console().note, should_stop=should_stop)
    if report is not None:
        write_report(compared.data, report, compared.folder.path)
    console().result(f"{report or compared.folder.report}")
    if not compared.is_over:
        console().result(f"stopped; go on with: lora-core compare {config_file} -o {out}")
        click.get_current_context().exit(130)
