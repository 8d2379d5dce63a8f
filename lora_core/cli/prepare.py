"""The commands on clips: `prepare CLIPS` examines and encodes a folder, the others make or check one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..atomic import check_target, is_stdout, write_text
from ..errors import TrainingError
from .console import console
from .examination import show_examination
from .options import ModelOptions, model_options
from .set_option import set_option
from .verb import DefaultedGroup, Verb

if TYPE_CHECKING:
    from ..families.base import ModelSpec
    from ..training.clips.diagnosis import Diagnosis
    from ..training.clips.prepare import Prepared
    from ..training.settings.clips import ClipSettings

_PATH = click.Path(path_type=Path)


@click.group("prepare", cls=DefaultedGroup, default="encode")
def command() -> None:
    """Make clips ready to train on: `prepare CLIPS` examines and encodes a folder, as `prepare encode CLIPS` does.

    A folder that is called like one of the commands is given as ./create.
    """


@command.command(
    "encode",
    cls=Verb,
    examples=(
        "lora-core prepare examples/clips --check --report report.json",
        "lora-core prepare examples/clips --set held_out=0.2 --sheet sheet.png",
    ),
)
@click.argument("clips", type=_PATH)
@model_options
@click.option("--check", is_flag=True, help="Examine the clips only; nothing is encoded.")
@click.option("--report", type=_PATH, help="Write what was found of every file, JSON; - for the standard output.")
@click.option("--cache", type=_PATH, help="Where encoded clips are kept; else in .wanloom-cache inside CLIPS.")
@click.option("--sheet", type=_PATH, help="Draw the clips as a training will see them, PNG.")
@set_option
def encode(
    clips: Path,
    model_options: ModelOptions,
    check: bool,
    report: Path | None,
    cache: Path | None,
    sheet: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Examine the videos and pictures in the folder CLIPS, and encode them with their captions into a cache.

    What cannot be used is named with the reason and left out. What the cache has already is not encoded again.
    """
    from ..training.config import clip_settings

    chosen = clip_settings(settings)
    _check_outputs(check, report, cache, sheet)
    if check:
        from ..families.registry import spec_named

        _examine(clips, chosen, spec_named(model_options.model), report, every=True).check()
        return
    _encode(clips, chosen, model_options, report, cache, sheet)


@command.command("create", cls=Verb, examples=("lora-core prepare create moving_shapes --clips 6 --frames 33",))
@click.argument("folder", type=_PATH)
@click.option("--frames", "num_frames", type=int, default=17, show_default=True, help="Frames of each clip, 4k+1.")
@click.option("--clips", "num_clips", type=int, default=16, show_default=True, help="How many clips.")
@click.option("--seed", type=int, default=0, show_default=True, help="What they show follows from it.")
def create(folder: Path, num_frames: int, num_clips: int, seed: int) -> None:
    """Draw clips of moving shapes with their captions into a new FOLDER, at any length: data to try things with.

    They show what the embedded pocket model knows, at 16 frames per second.
    """
    from ..pocket.sample_clips import draw_samples

    with console().progress() as progress:
        draw_samples(folder, num_clips, num_frames, seed=seed, progress=progress)
    console().result(f"{folder}: {num_clips} clips of {num_frames} frames, with captions")


@command.command("validate", cls=Verb, examples=("lora-core prepare validate examples/clips --frames 17",))
@click.argument("clips", type=_PATH)
@click.option("--frames", "num_frames", type=int, required=True, help="How long each clip has to be, 4k+1 frames.")
@model_options
@click.option("--report", type=_PATH, help="Write what was found of every file, JSON; - for the standard output.")
@set_option
def validate(
    clips: Path, num_frames: int, model_options: ModelOptions, report: Path | None, settings: tuple[str, ...]
) -> None:
    """Examine the folder CLIPS against the length that a training shall have; clips that are too short are named.

    Nothing is encoded. Ends with exit code 1 where a clip is too short, or too little can be used.
    """
    from ..families.registry import spec_named
    from ..training.clips.target_length import check_target_length
    from ..training.config import clip_settings

    chosen = clip_settings((f"num_frames={num_frames}", *settings))
    _check_outputs(True, report, None, None)
    spec = spec_named(model_options.model)
    diagnosis = _examine(clips, chosen, spec, report, every=True)
    check_target_length(diagnosis, spec)
    diagnosis.check()


@command.command("convert", cls=Verb, examples=("lora-core prepare convert examples/clips converted",))
@click.argument("source", type=_PATH)
@click.argument("folder", type=_PATH)
def convert(source: Path, folder: Path) -> None:
    """Copy the clips of SOURCE into a new FOLDER, each with its captions in a text beside it.

    SOURCE is a folder in any layout that a training reads, or a list: a .json with an array of {"video", "prompt"}, a
    .jsonl or a .csv. Other names are read too: "file" or "file_name", "caption" or "text", and "split".
    """
    from ..training.clips.convert import convert_clips

    with console().progress(rate=True) as progress:
        converted = convert_clips(source, folder, progress=progress)
    for note in converted.notes:
        console().note(f"note: {note}")
    held_out = f", {converted.num_held_out} of them held out" if converted.num_held_out else ""
    console().result(f"{folder}: {converted.num_clips} clips with captions{held_out}")


def _check_outputs(check: bool, report: Path | None, cache: Path | None, sheet: Path | None) -> None:
    """Refuse what could not be written, or would not be, before any work is done."""
    for option, path in (("--cache", cache), ("--sheet", sheet)):
        if check and path is not None:
            raise TrainingError(option, "--check encodes nothing to put there", remedy="Leave one of the two out")
    for path in (report, sheet):
        if path is not None and not is_stdout(path):
            check_target(path)
    if sheet is not None:
        from ..media.figures import check_figure

        check_figure(sheet)


def _examine(clips: Path, settings: ClipSettings, spec: ModelSpec, report: Path | None, *, every: bool) -> Diagnosis:
    """Examine the clips and show what was found, also where it is too bad to go on."""
    from ..training.clips.doctor import diagnose
    from ..training.clips.report import as_json

    with console().progress(rate=True) as progress:
        diagnosis = diagnose(clips, settings, spec, progress)
    tell = console().result if every and (report is None or not is_stdout(report)) else console().note
    buckets = show_examination(diagnosis, spec, tell, only_problems=not every)
    if report is not None:
        found = as_json(diagnosis, buckets)
        write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", report)
    return diagnosis


def _encode(
    clips: Path,
    settings: ClipSettings,
    model_options: ModelOptions,
    report: Path | None,
    cache: Path | None,
    sheet: Path | None,
) -> None:
    from ..training.clips.prepare import check_ready, prepare_examined
    from ..training.clips.sheet import save_sheet

    console().note(f"opening {model_options.model}")
    model = model_options.open()
    check_ready(clips, model, cache)
    diagnosis = _examine(clips, settings, model.spec, report, every=False)
    diagnosis.check()
    with console().progress(rate=True) as progress:
        prepared = prepare_examined(diagnosis, model, cache=cache, progress=progress)
        seen = "" if sheet is None else save_sheet(prepared.cache, model, sheet, progress)
    for note in filter(None, (*prepared.notes, seen)):
        console().note(f"note: {note}")
    if sheet is not None:
        console().note(f"sheet: {sheet}")
    tell = console().note if report is not None and is_stdout(report) else console().result
    tell(_summary(prepared))


def _summary(prepared: Prepared) -> str:
    cache = prepared.cache
    sources = {clip.source: clip.held_out for clip in cache.clips}
    held_out = sum(sources.values())
    split = f"{len(sources) - held_out} clips to train on, {held_out} held out"
    more = f", {len(cache.clips)} entries in all" if len(cache.clips) > len(sources) else ""
    return f"{cache.folder}: {split}{more}"
