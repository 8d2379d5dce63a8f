"""The command `video2world`: a video that goes on from a picture or from the end of another, one or a list of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic import is_stdout
from ..checks import counted
from ..errors import RequestError, StackError
from ..files.stated import NOTHING_STATED, StatedLora
from ..plan.settings import SCHEDULES, RunSettings
from ..plan.sigmas import parse_sigmas
from .batch import follow
from .console import console
from .generate import check_record_file, made, seed_option, solver_option, write_record
from .helper_options import GuardOptions, RefinerOptions, guard_options, refiner_options
from .options import (
    Decorator,
    ModelOptions,
    StackOptions,
    TextValue,
    check_levels,
    going_on_model_options,
    group,
    parse_cfg,
    stack_options,
)
from .radial_option import parse_size
from .stated_option import stated_options
from .verb import Verb

if TYPE_CHECKING:
    from ..engine.guarding import Guardrail
    from ..families.base import ModelSpec
    from ..families.opened import OpenedModel
    from ..refiner.refined import Refiner
    from ..stack.loaded import LoadedStack
    from ..stack.stack import LoraStack

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class WorldSettings:
    """The fields of `WorldRequest` but for its input and prompt, each under the name that the shell has for it."""

    negative_prompt: str
    num_conditional_frames: int
    resolution: int | None
    aspect: str | None
    size: tuple[int, int] | None
    fps: float | None
    num_frames: int | None
    num_steps: int | None
    cfg: float | tuple[float, float] | None
    shift: float
    schedule: str
    sigmas: tuple[float, ...] | None
    sigma_conditioning: float | None
    solver: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        return {own.name: getattr(self, own.name) for own in fields(self)}


_OPTIONS: tuple[Decorator, ...] = (
    click.option("--negative-prompt", default="", help="What not to show; read where guidance is not 1."),
    click.option(
        "--num-conditional-frames",
        type=int,
        default=1,
        show_default=True,
        help="How many of the input's last frames it goes on from: 1, or 5 of a video.",
    ),
    click.option(
        "--resolution", type=int, help="480 or 720, as the weights are made for; by default as their name says."
    ),
    click.option("--aspect", help="16:9, 4:3, 1:1, 3:4 or 9:16; by default the one nearest to the input's."),
    click.option("--size", type=TextValue("size", parse_size), help="WIDTHxHEIGHT instead of the two."),
    click.option("--fps", type=float, help="10 (61 frames) or 16 (93 frames); by default as the weights' name says."),
    click.option("--frames", "num_frames", type=int, help="Another length, 4k+1."),
    click.option("--steps", "num_steps", type=int, help="How many steps; by default the model's own, 35 of Cosmos."),
    click.option(
        "--cfg",
        type=TextValue("number", parse_cfg),
        help="Guidance, one more than NVIDIA's; by default the model's own, 8 of Cosmos.",
    ),
    click.option("--shift", type=float, default=RunSettings.shift, help="Of the flow schedule, which Cosmos has not."),
    click.option(
        "--schedule",
        default=RunSettings.schedule,
        help=f"How noise levels are spaced, one of {', '.join(SCHEDULES)}; auto is the model's own.",
    ),
    click.option("--sigmas", type=TextValue("numbers", parse_sigmas), help="Noise levels of your own."),
    click.option(
        "--sigma-conditioning", type=float, help="The noise that known frames are said to carry; by default 0.0001."
    ),
    solver_option,
    seed_option,
)
_EXAMPLES = (
    """lora-core video2world --input examples/clips/blue-circle-checkered-up.mp4 \\
    --prompt "a blue circle moves down on a checkered background" --steps 6 --scale 4 -o out/down.mp4""",
    "lora-core video2world --batch-input-json examples/jobs/world_jobs.json --steps 6 --scale 4 -o out/worlds",
)


@click.command("video2world", cls=Verb, examples=_EXAMPLES)
@click.option("--input", "input_file", type=_PATH, help="A picture, a video, or a folder of frames.")
@click.option("--prompt", "-p", help="What happens next.")
@click.option("--batch-input-json", "jobs_file", type=_PATH, help="A list of {input_video, prompt, output_video}.")
@group("settings", WorldSettings, *_OPTIONS, check=check_levels)
@going_on_model_options
@stack_options
@stated_options()
@guard_options
@refiner_options
@click.option("--scale", type=click.IntRange(1, 16), default=1, show_default=True, help="Enlarge every pixel.")
@click.option("--out", "-o", type=_PATH, help="The video, video.mp4 by default; of a list, the folder of its outputs.")
@click.option(
    "--json",
    "record_file",
    type=_PATH,
    help="The record, by default the video's name with .json behind it; - prints it.",
)
def command(
    input_file: Path | None,
    prompt: str | None,
    jobs_file: Path | None,
    settings: WorldSettings,
    model_options: ModelOptions,
    lora_options: StackOptions,
    stated: StatedLora,
    guard_options: GuardOptions,
    refiner_options: RefinerOptions,
    scale: int,
    out: Path | None,
    record_file: Path | None,
) -> None:
    """Make a video that goes on from a picture, or from the last frames of a video; made for Cosmos Predict2.

    The input is scaled to cover the frame and cut around its centre. Size and length are those that the weights are
    made for; what their name says and what is asked must agree. docs/cosmos.md has the sizes.

    Rank, alpha and layers of the LoRAs may be stated; whatever a file or the model contradicts is an error before a
    network runs. How many parameters each LoRA has is printed.

    --batch-input-json is NVIDIA's list, whose jobs may have the options above as keys too. A job at fault is named by
    its number and the others are made, the exit code is 1 then; those that are done are not made again.
    """
    from ..engine.world import world_notes
    from ..media.video import check_output

    _check_given(jobs_file is not None, {"--input": input_file, "--prompt": prompt}, record_file)
    refiner, stack = refiner_options.refiner(model_options), lora_options.stack()
    if jobs_file is None and not len(stack) and stated != NOTHING_STATED:
        raise StackError("stated LoRA", "there is no LoRA to hold it against", remedy="Give one with --lora")
    out = out or Path("video.mp4" if jobs_file is None else ".")
    if jobs_file is None:
        check_output(out)
        record_file = record_file or out.with_name(f"{out.name}.json")
        check_record_file(record_file, out)
    console().note(f"opening {model_options.model}")
    model = model_options.open()
    for note in world_notes(model):
        console().note(note)
    reading = _Reading(stated, lora_options.download)
    shared = _Shared(model, settings.to_dict(), stack, scale, reading, guard_options, refiner)
    if jobs_file is not None:
        _make_list(shared, jobs_file, out)
    elif record_file is not None:
        _make_one(shared, {"input": input_file, "prompt": prompt}, out, record_file)


@dataclass
class _Reading:
    """The reading of LoRAs held against what is stated, each file counted for people once."""

    stated: StatedLora
    download: bool
    told: set[Path] = field(default_factory=set)

    def __call__(self, stack: LoraStack, spec: ModelSpec) -> LoadedStack:
        from ..stack.matching import load_matched

        loaded, matches = load_matched(stack, spec, self.stated, download=self.download)
        for match in matches:
            if match.path not in self.told:
                self.told.add(match.path)
                console().note(f"{match.path.name}\n{match.text()}")
        return loaded


@dataclass(frozen=True)
class _Shared:
    """What one video and a list of them have in common."""

    model: OpenedModel
    settings: dict[str, Any]
    stack: LoraStack
    scale: int
    read: _Reading
    guard_options: GuardOptions
    refiner: Refiner | None

    def guardrail(self) -> Guardrail:
        return self.guard_options.choose(self.model.spec)


def _check_given(is_list: bool, needed: dict[str, object], record_file: Path | None) -> None:
    """Raise where what one video needs is missing, or is given beside a list."""
    for option, given in needed.items():
        if given is None and not is_list:
            raise RequestError(option, "there is none", remedy=f"Give {option}, or --batch-input-json")
    for option, given in {**needed, "--json": record_file}.items():
        if given is not None and is_list:
            raise RequestError(option, "each job of a list has its own", remedy="Leave it out")


def _make_one(shared: _Shared, asked: dict[str, Any], out: Path, record_file: Path) -> None:
    from ..engine.world import WorldRequest

    request = WorldRequest(**asked, **shared.settings).on(shared.model)
    arguments = {
        "model": shared.model,
        "stack": shared.read(shared.stack, shared.model.spec),
        "guardrail": shared.guardrail(),
        "refiner": shared.refiner,
    }
    video = made(arguments, request)
    console().note(f"writing {out}")
    video.save(out, scale=shared.scale)
    write_record({**video.record, "scale": shared.scale}, record_file)
    for note in video.notes:
        console().note(note)
    tell = console().note if is_stdout(record_file) else console().result
    tell(f"{out}: {len(video.frames)} frames, {video.plan.num_steps} steps, {video.seconds:.1f} s")


def _make_list(shared: _Shared, jobs_file: Path, folder: Path) -> None:
    from ..jobs.maker import HowToMake
    from ..jobs.read import read_jobs
    from ..jobs.run import run_jobs
    from ..jobs.world import world_form

    jobs = read_jobs(jobs_file, folder, world_form(shared.model, shared.settings, shared.stack, shared.scale))
    console().note(f"{counted(jobs.total, 'job')}; checking all of them")
    how = HowToMake(lambda: shared.model, guardrail=shared.guardrail(), refiner=shared.refiner, load=shared.read)
    follow(run_jobs(jobs, how), jobs.total)
