"""The command `train`: LoRAs, or whole weights, of both experts from a folder of clips."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrainingError
from ..training.opening import open_model
from ..wording import said
from .console import console
from .ending import asked_to_end
from .examination import show_examination
from .running_options import Running, running_options
from .set_option import set_option
from .verb import Verb

if TYPE_CHECKING:
    from ..engine.previews import Previews
    from ..families.opened import OpenedModel
    from ..training.clips.prepare import Prepared
    from ..training.config import TrainConfig
    from ..training.ranks import Ranks
    from ..training.run_folder import RunFolder
    from .training_lines import TrainingLines
    from .training_status import TrainingStatus

    Status = TrainingStatus | TrainingLines

_PATH = click.Path(path_type=Path)


@click.command(
    "train",
    cls=Verb,
    examples=("lora-core train --clips examples/clips --preset quick --steps 4 --set switch_every=1 -o out/quick",),
)
@click.argument("config_file", type=_PATH, required=False, metavar="[CONFIG.toml]")
@click.option("--clips", help="The folder of clips with captions.")
@click.option("--preset", help="style, character, motion, speed or quick; single keys take its place.")
@click.option("--objective", help="What is learnt: flow, speed, reward or extend-length.")
@click.option("--model", help="pocket, pocket-i2v, pocket-small, a diffusers folder, or the high expert's file.")
@click.option("--name", help="What the files are called; by default as the folder OUT.")
@click.option("--out", "-o", type=_PATH, required=True, help="The folder of the training; its result comes into it.")
@click.option("--steps", type=int, help="Steps in all, of both experts together.")
@set_option
@click.option("--cache", type=_PATH, help="Where encoded clips are kept; by default in the folder of clips.")
@click.option("--resume", is_flag=True, help="Go on with the training in OUT.")
@running_options
@click.option("--plan", "only_plan", is_flag=True, help="Print every key and the memory it will take; train nothing.")
def command(
    config_file: Path | None,
    out: Path,
    settings: tuple[str, ...],
    cache: Path | None,
    resume: bool,
    running: Running,
    only_plan: bool,
    **given: Any,
) -> None:
    """Train LoRAs, or whole weights, of one or both experts on a folder of clips.

    Keys come from CONFIG.toml, a preset and --set, the later before the earlier; --resume alone takes those of OUT.
    """
    from ..training.train import check_training

    given = {key: value for key, value in given.items() if value is not None}

    def do(ranks: Ranks, status: Status) -> bool:
        with ranks.as_one():
            config = _config(config_file, settings, given, out, resume=resume)
            model = open_model(config.model, ranks.device)
            check_training(config, model, out, resume=resume)
        console().note(config.to_toml())
        if only_plan and ranks.is_main:
            console().result(memory_plans(config, model))
        return not only_plan and _train(config, model, cache, out, resume, running.stop_after, ranks, status)

    running.run(_status, do)


def _train(
    config: TrainConfig,
    model: OpenedModel,
    cache: Path | None,
    out: Path,
    resume: bool,
    stop_after: int | None,
    ranks: Ranks,
    status: Status,
) -> bool:
    """Prepare the clips, train, and say what came of it; return whether somebody has asked for an end."""
    from ..training.train import train

    with status.shown():
        status.phase(said("preparing the clips"))
        with ranks.as_one():
            prepared = _prepare(config, model, cache, status) if ranks.is_main else None
        if prepared is None:  # all is encoded by now
            prepared = _prepare(config, model, cache, status)
        for note in prepared.notes:
            status.note(note)
        with ranks.as_one():
            previews = _previews(config, model, prepared, out, writes=ranks.is_main)
        with asked_to_end(twice=ranks.num > 1) as should_stop:  # until here an end is at once, and loses nothing
            trained = train(
                config,
                model,
                prepared.cache,
                out,
                resume=resume,
                stop_after=stop_after,
                preview=None if previews is None else partial(_show, previews, status),
                on_begin=partial(_draw_clips, model=model, prepared=prepared, status=status),
                should_stop=lambda: should_stop() or status.is_unheard,
                listener=status,
                ranks=ranks,
            )
    if ranks.is_main:
        if previews is not None and trained.files:
            previews.compare()
        status.done(trained)
    return should_stop() or status.is_unheard


def _status(told_as: str) -> Status:
    """Return who tells of the training, in lines of JSON or to people."""
    from .training_lines import TrainingLines
    from .training_status import TrainingStatus

    return TrainingLines() if told_as == "json" else TrainingStatus(console())


def _show(previews: Previews, status: Status, step: int, model: OpenedModel) -> None:
    """Make the previews of a step, and tell where they are."""
    if (sheet := previews(step, model)) is not None:
        status.previewed(step, sheet)


def _config(
    config_file: Path | None, settings: tuple[str, ...], given: dict[str, Any], out: Path, *, resume: bool
) -> TrainConfig:
    """Return the configuration from a file or the shell; of a training that exists, its own where nothing is said."""
    from ..training.config import make_config, parse_settings, read_config
    from ..training.run_folder import RunFolder

    folder, parsed = RunFolder(out), parse_settings(settings)
    if resume:
        folder.require()
    if both := [key for key in given if key in parsed]:
        raise TrainingError(f"--{both[0]}", f"--set {both[0]} is given too", remedy="Leave one out")
    if config_file is None and "clips" not in {*given, *parsed} and folder.config.is_file():
        return read_config(folder.config, settings, **given)
    if config_file is not None:
        return read_config(config_file, settings, default_name=out.resolve().name, **given)
    if "clips" not in {*given, *parsed}:
        raise TrainingError("train", "no clips", expected="a CONFIG.toml, or --clips FOLDER", remedy="Give one")
    return make_config({"name": out.resolve().name, **given, **parsed}, "train")


def memory_plans(config: TrainConfig, model: OpenedModel) -> str:
    """Lay out what each plan would take, for clips as long and large as the configuration lets them be."""
    from ..training.assembly import turns_of
    from ..training.memory.choice import look_at
    from ..training.memory.load import load_of_config
    from ..training.memory.machine import this_machine

    turns_of(config.learning, model.spec)
    load = load_of_config(config, model.spec, model.max_tokens)
    return str(look_at(config, model, load, this_machine(model.device), all_plans=True))


def _prepare(config: TrainConfig, model: OpenedModel, cache: Path | None, status: Status) -> Prepared:
    """Examine the clips, tell of problems and buckets, and encode what the cache lacks."""
    from ..training.clips.doctor import diagnose
    from ..training.clips.prepare import check_ready, prepare_examined

    check_ready(config.folder, model, cache)
    diagnosis = diagnose(config.folder, config.clips, model.spec, status.progress)
    batch_size = config.learning.batch_size
    show_examination(diagnosis, model.spec, status.note, only_problems=True, batch_size=batch_size)
    diagnosis.check()
    return prepare_examined(diagnosis, model, cache=cache, progress=status.progress)


def _draw_clips(folder: RunFolder, model: OpenedModel, prepared: Prepared, status: Status) -> None:
    """Draw the clips into the folder of a training, as it will see them."""
    from ..training.clips.sheet import save_sheet

    if note := save_sheet(prepared.cache, model, folder.sheet, status.progress):
        status.note(f"note: {note}")
    status.note(f"the clips as they are trained on: {folder.sheet}")


def _previews(
    config: TrainConfig, model: OpenedModel, prepared: Prepared, out: Path, *, writes: bool
) -> Previews | None:
    from ..engine.previews import make_previews
    from ..training.run_folder import RunFolder

    return make_previews(RunFolder(out).previews, model, config.watching, prepared.cache.trained, writes=writes)
