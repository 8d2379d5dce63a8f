"""The command `demo`: the main job on the embedded models, one run for each LoRA, for a stack, and from a picture."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic import check_target
from ..engine.request import GenerationRequest
from ..experts import EXPERTS
from ..stack.entry import LoraEntry
from ..stack.region import Region
from ..stack.stack import LoraStack
from .console import console
from .demo_training import CLIPS, FILES, NAME, SUBJECT, can_train, train_live
from .generate import write_record
from .verb import Verb

if TYPE_CHECKING:
    import numpy as np

    from ..engine.generate import Video
    from ..families.base import ModelSpec
    from ..families.opened import OpenedModel

#: Pocket clips are 64 pixels wide; people's screens are not.
_SCALE = 6


@dataclass(frozen=True)
class Run:
    """One clip of the demo.

    Attributes:
        loras: embedded LoRAs; the low-noise file of each pair is found beside the high-noise one.
        is_fast: six steps without guidance, instead of the many guided steps of a model without a speed LoRA.
        model: the embedded model that makes the clip.
        continues: the run with whose first frame this one begins.
        num_frames: None for the model's own.
        is_refined: the prompt is a request in anybody's words, which the embedded language model writes as a caption.
    """

    name: str
    prompt: str
    loras: tuple[LoraEntry, ...] = ()
    is_fast: bool = False
    model: str = "pocket"
    continues: str | None = None
    num_frames: int | None = None
    is_refined: bool = False

    def request(self, spec: ModelSpec, seed: int, image: np.ndarray | None) -> GenerationRequest:
        """Ask for the clip with the settings its kind of run wants."""
        num_steps, cfg = (6, 1.0) if self.is_fast else (spec.default_num_steps, spec.default_cfg)
        return GenerationRequest(
            self.prompt, image=image, num_frames=self.num_frames, num_steps=num_steps, cfg=cfg, seed=seed
        )


def _lora(name: str, strength: float = 1.0, **settings: Any) -> LoraEntry:
    return LoraEntry(name, Path(name), strength, **settings)


_SPEED, _STYLE, _CHARACTER, _MOTION = "speed_6steps", "neon_style", "zibbo_character", "orbit_motion"
_QUALITY, _LONGER, _COSMOS_MOTION = "sharp_quality", "longer", "cosmos_orbit"
_SHAPE = "a yellow triangle moves right on a striped background"
_ZIBBO = "a zibbo moves right on a striped background"
_ORBIT = "a blue circle orbits on a gradient background"
_STACK = "stack"
_PLAN, _RECORD, _SHEET = "plan.png", "stack.json", "sheet.png"

RUNS: tuple[Run, ...] = (
    Run("base", _SHAPE),
    Run("base-6-steps", _SHAPE, is_fast=True),
    Run("quality", _SHAPE, (_lora(_QUALITY),), is_fast=True),
    Run("speed", _SHAPE, (_lora(_SPEED),), is_fast=True),
    Run("style", _SHAPE, (_lora(_STYLE),)),
    Run("base-character-word", _ZIBBO),
    Run("character", _ZIBBO, (_lora(_CHARACTER),)),
    Run("base-motion-word", _ORBIT),
    Run("motion", _ORBIT, (_lora(_MOTION),)),
    Run("refined", "crimson ball rising over zebra lines", (_lora(_SPEED),), is_fast=True, is_refined=True),
    Run("longer", _SHAPE, (_lora(_SPEED), _lora(_LONGER)), is_fast=True, num_frames=65),
    Run("from-picture", _SHAPE.replace("right", "left"), model="pocket-i2v", continues="base"),
    Run("cosmos", _SHAPE, model="pocket-cosmos", continues="base"),
    Run("cosmos-motion", _ORBIT, (_lora(_COSMOS_MOTION),), model="pocket-cosmos", continues="motion"),
    Run(
        _STACK,
        _ZIBBO,
        # At full strength the glow covers the white of the eyes.
        (_lora(_SPEED), _lora(_CHARACTER, 1.2), _lora(_STYLE, 0.6)),
        is_fast=True,
    ),
    Run(
        "regions",
        "a zibbo moves right on a plain background",
        (_lora(_SPEED), _lora(_CHARACTER, region=Region.parse("left")), _lora(_STYLE, region=Region.parse("right"))),
        is_fast=True,
    ),
)


@click.command("demo", cls=Verb, examples=("lora-core demo --out demo",))
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="A folder.")
@click.option("--seed", type=int, default=21, show_default=True, help="Of the noise all clips start from.")
def command(out: Path, seed: int) -> None:
    """Run the main job on the embedded pocket model and show what each LoRA does."""
    from ..families.registry import opener
    from ..media.contact_sheet import contact_sheet

    started = time.perf_counter()
    trains = can_train()
    runs = (*RUNS, *(_trained_runs(out) if trains else ()))
    for name in (*(f"{run.name}.mp4" for run in runs), _PLAN, _RECORD, _SHEET, *(FILES if trains else ())):
        check_target(out / name)
    models = {name: opener(name)(name) for name in {run.model for run in runs}}
    videos: dict[str, Video] = {}
    with console().progress() as report:
        for number, run in enumerate(RUNS):
            report(number, len(RUNS), "clips")
            videos[run.name] = _make(run, models, seed, out, videos)
        report(len(RUNS), len(RUNS), "clips")
        if trains:
            train_live(out, models["pocket"], seed, report)
            videos |= {run.name: _make(run, models, seed, out, videos) for run in _trained_runs(out)}
    videos[_STACK].plan.plot(out / _PLAN)
    write_record(videos[_STACK].record, out / _RECORD)
    labels = [_label(run, videos[run.name]) for run in runs]
    rows = [video.frames for video in videos.values()]
    contact_sheet(rows, labels, out / _SHEET, title=f"WanLoom pocket demo, seed {seed}", num_columns=6)
    console().result(_table(videos))
    made = "clips, sheet.png, plan.png, stack.json" + (f", the trained LoRA and {FILES[-1]}" if trains else "")
    console().result(f"{made} are in {out.resolve()}")
    if not trains:
        console().note(f"no LoRA was trained: {CLIPS} is not here, which comes with the project's files")
    console().result(f"{time.perf_counter() - started:.1f} s in all")


def _trained_runs(out: Path) -> tuple[Run, Run]:
    """Return the clips that show what the LoRA has learnt that the demo trains."""
    return (Run("base-trained-word", SUBJECT), Run("trained", SUBJECT, (LoraEntry(NAME, out / FILES[0]),)))


def _make(run: Run, models: Mapping[str, OpenedModel], seed: int, out: Path, made: Mapping[str, Video]) -> Video:
    """Generate and save one clip; `made` are those before it."""
    from ..engine.generate import generate
    from ..media.video import save_video
    from ..refiner.local import LocalRefiner

    refiner = LocalRefiner() if run.is_refined else None
    model, image = models[run.model], None if run.continues is None else made[run.continues].frames[0]
    video = generate(model, run.request(model.spec, seed, image), LoraStack(run.loras), refiner=refiner)
    save_video(video.frames, out / f"{run.name}.mp4", video.fps, scale=_SCALE)
    return video


def _label(run: Run, video: Video) -> str:
    loras = " + ".join(map(_with_strength, run.loras))
    name = f'{run.name} from "{run.prompt}"' if run.is_refined else run.name
    return f"{name}\n{video.prompt}\n{video.plan.num_steps} steps, {loras or 'no LoRA'}"


def _with_strength(lora: LoraEntry) -> str:
    """Name a LoRA with its strength, or two where the experts have different ones, and with its region."""
    strengths = dict.fromkeys(f"{lora.strength_on(expert):g}" for expert in EXPERTS)
    return f"{lora.name} {'/'.join(strengths)}" + ("" if lora.region is None else f" {lora.region}")


def _table(videos: dict[str, Video]) -> str:
    """Say what was measured on each clip, and how long it took."""
    from ..pocket.measure import read_clip

    head = f"{'clip':22}{'steps':>6}{'seconds':>9}  {'colour':9}{'shape':10}{'motion':8}{'dark':>6}{'zibbo':>7}"
    lines = [head]
    for name, video in videos.items():
        seen = read_clip(video.frames.astype("float32") / 127.5 - 1)
        words = f"{seen.colour or '-':9}{seen.shape or '-':10}{seen.motion or '-':8}"
        lines.append(
            f"{name:22}{video.plan.num_steps:>6}{video.seconds:>9.1f}  {words}{seen.neon:>6.0%}{seen.zibbo:>7.0%}"
        )
    return "\n".join(lines)
