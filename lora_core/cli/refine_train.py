"""The commands `refine train` and `refine rows`: a language model that is tuned, and a look at what it is taught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic import write_text
from ..errors import TrainingError
from .console import console
from .ending import asked_to_end
from .running_options import Running, running_options
from .set_option import set_option
from .verb import Verb

if TYPE_CHECKING:
    from ..refiner.tuning.config import TuneConfig
    from ..training.ranks import Ranks
    from .tuning_status import TuningLines, TuningStatus

_PATH = click.Path(path_type=Path)


@click.command(
    "train",
    cls=Verb,
    examples=(
        "lora-core refine train configs/refine-pocket.toml --steps 4 -o out/refiner",
        "lora-core refine train configs/refine-pocket.toml --set method=qlora --plan -o out/refiner",
    ),
)
@click.argument("config_file", type=_PATH, required=False, metavar="[CONFIG.toml]")
@click.option("--rows", help="The file of rows, JSON lines.")
@click.option("--model", help="pocket-lm, the folder of a language model, or a .gguf.")
@click.option("--method", help="full, lora or qlora.")
@click.option("--out", "-o", type=_PATH, required=True, help="The folder of the tuning; its result comes into it.")
@click.option("--steps", type=int, help="Steps in all.")
@set_option
@click.option("--resume", is_flag=True, help="Go on with the tuning in OUT.")
@running_options
@click.option(
    "--plan", "only_plan", is_flag=True, help="Print every key and the memory each method takes; train nothing."
)
def train_command(
    config_file: Path | None,
    out: Path,
    settings: tuple[str, ...],
    resume: bool,
    running: Running,
    only_plan: bool,
    **given: Any,
) -> None:
    """Tune a language model that refines prompts: all its weights, a LoRA, or a LoRA on 4-bit weights.

    Keys come from CONFIG.toml and --set, the later before the earlier; --resume alone takes those of OUT.
    """
    from ..refiner.tuning.tune import check_tuning

    given = {key: value for key, value in given.items() if value is not None}

    def do(ranks: Ranks, status: TuningStatus | TuningLines) -> bool:
        with ranks.as_one():
            config = _config(config_file, settings, given, out, resume=resume)
            if ranks.is_main and not only_plan:
                check_tuning(config, out, resume=resume)
        console().note(config.to_toml())
        if only_plan and ranks.is_main:
            console().result(_plan(config))
        return not only_plan and _tune(config, out, resume, running.stop_after, ranks, status)

    running.run(_status, do)


def _tune(
    config: TuneConfig,
    out: Path,
    resume: bool,
    stop_after: int | None,
    ranks: Ranks,
    status: TuningStatus | TuningLines,
) -> bool:
    """Tune, and say what came of it; return whether somebody has asked for an end."""
    from ..refiner.tuning.tune import tune

    with status.shown(), asked_to_end(twice=ranks.num > 1) as should_stop:
        tuned = tune(
            config,
            out,
            resume=resume,
            stop_after=stop_after,
            should_stop=lambda: should_stop() or status.is_unheard,
            listener=status.listener,
            ranks=ranks,
        )
    if ranks.is_main:
        status.done(tuned)
    return should_stop() or status.is_unheard


def _status(told_as: str) -> TuningStatus | TuningLines:
    from .tuning_status import TuningLines, TuningStatus

    return TuningLines() if told_as == "json" else TuningStatus(console())


def _config(
    config_file: Path | None, settings: tuple[str, ...], given: dict[str, Any], out: Path, *, resume: bool
) -> TuneConfig:
    """Return the configuration from a file or the shell; of a tuning that exists, its own where nothing is said."""
    from ..refiner.tuning.config import key_kinds, make_tune_config, read_tune_config
    from ..refiner.tuning.folder import TuneFolder
    from ..training.config import parse_settings

    folder, parsed = TuneFolder(out), parse_settings(settings, key_kinds())
    if resume:
        folder.require()
    if both := [key for key in given if key in parsed]:
        raise TrainingError(f"--{both[0]}", f"--set {both[0]} is given too", remedy="Leave one out")
    if config_file is None and "rows" not in {*given, *parsed} and folder.config.is_file():
        return read_tune_config(folder.config, settings, **given)
    if config_file is not None:
        return read_tune_config(config_file, settings, **given)
    if "rows" not in {*given, *parsed}:
        raise TrainingError("refine train", "no rows", expected="a CONFIG.toml, or --rows FILE", remedy="Give one")
    return make_tune_config({**given, **parsed}, "refine train")


def _plan(config: TuneConfig) -> str:
    """Lay out what each method would take, for the rows of a configuration."""
    import torch

    from ..refiner.tuning.extra import check_installed
    from ..refiner.tuning.lessons import lessons_of
    from ..refiner.tuning.memory import memory_plan
    from ..refiner.tuning.network import find_base

    check_installed(config)
    source = find_base(config.model)
    uses_gpu = torch.cuda.is_available() and config.device != "cpu"
    return str(memory_plan(config, source, lessons_of(config, source), torch.device("cuda" if uses_gpu else "cpu")))


@click.command(
    "rows",
    cls=Verb,
    examples=("lora-core refine rows examples/refiner/rows.jsonl --report report.json",),
)
@click.argument("file", type=_PATH, metavar="ROWS.jsonl")
@click.option(
    "--held-out", type=_PATH, metavar="FILE", help="Rows that are only measured, looked at beside the others."
)
@click.option(
    "--rehearsal", type=_PATH, metavar="FILE", help="Rows of what is known already, learnt beside the others."
)
@click.option("--model", default="pocket-lm", show_default=True, help="Whose tokens and chat template count.")
@click.option("--system", default="", help="The system prompt before every row, or its name.")
@click.option("--max-length", type=click.IntRange(min=1), default=512, show_default=True, help="In tokens.")
@click.option("--report", type=_PATH, metavar="FILE", help="Write what was found, JSON; - for the standard output.")
def rows_command(
    file: Path,
    held_out: Path | None,
    rehearsal: Path | None,
    model: str,
    system: str,
    max_length: int,
    report: Path | None,
) -> None:
    """Look at the rows of a file: what is no row, empty, double, too long, contradictory, or held out in vain.

    Ends with exit code 1 where nothing could be trained because of it.
    """
    from ..refiner.instructions import find_instructions
    from ..refiner.rows.doctor import examine_rows
    from ..refiner.rows.opening import open_maker
    from ..refiner.rows.read import read_rows_file
    from ..refiner.tuning.network import find_base

    maker = open_maker(find_base(model), find_instructions(system).text)
    measured, known = (None if path is None else read_rows_file(path) for path in (held_out, rehearsal))
    found = examine_rows(read_rows_file(file), measured, maker, max_length, rehearsal=known)
    if report is None:
        console().result(found.text())
    else:
        write_text(found.to_json(), report)
    found.check()
