"""The command `refine compare`: ways to tune a refiner side by side, and what videos gain by it."""

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
    examples=("lora-core refine compare benchmarks/refiner/compare.toml -o out/refiners",),
)
@click.argument("config_file", type=_PATH, metavar="CONFIG.toml")
@click.option("--out", "-o", type=_PATH, required=True, help="The folder of the comparison.")
@click.option("--report", type=_PATH, metavar="FILE.md", help="Write the report there too, its pictures in images/.")
@set_option
def compare_command(config_file: Path, out: Path, report: Path | None, settings: tuple[str, ...]) -> None:
    """Tune by each method of CONFIG.toml, sweep the learning rates, repeat the best with other seeds, and report.

    Beside the tunings stand a dictionary, the nearest caption and prompting, and what all of them do for videos of the
    pocket model. What is finished in OUT is not done again: after Ctrl-C run the same line.
    """
    from ..comparison.refiners.compare import compare_refiners
    from ..comparison.refiners.config import read_refiners_config
    from ..comparison.refiners.report import write_report
    from ..comparison.report import check_report

    config = read_refiners_config(config_file, settings)
    if report is not None:
        check_report(report)
    with console().progress() as progress, asked_to_end() as should_stop:
        compared = compare_refiners(config, out, progress=progress, tell=console().note, should_stop=should_stop)
    if report is not None:
        write_report(compared.data, report)
    console().result(f"{report or compared.folder.report}")
    if not compared.is_over:
        console().result(f"stopped; go on with: lora-core refine compare {config_file} -o {out}")
        click.get_current_context().exit(130)
