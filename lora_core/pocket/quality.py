"""The quality table of the pocket world: how often clips show what was asked, for prompts and seeds not trained on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..families.opened import OpenedModel
from ..plan.settings import RunSettings
from ..stack.stack import LoraStack
from . import world
from .long import read_to_the_end
from .measure import Reading, read_clip
from .samples import Sampler
from .scenes import held_out_scenes

SPEED, QUALITY, LONGER = "speed_6steps", "sharp_quality", "longer"
#: What rows are called whose clips begin with a picture.
PICTURE = "from a picture"
ASKED: Mapping[str, Mapping[str, str]] = {
    "neon_style": {},
    "zibbo_character": {"shape": world.CHARACTER},
    "orbit_motion": {"motion": "orbits"},
}
"""What each LoRA's prompts ask for beyond a held-out mixture."""
MEASURES = ("colour", "shape", "motion", "neon", "zibbo", "orbit")


@dataclass(frozen=True)
class QualityConfig:
    """How the table is measured."""

    cfg: float = 3.5
    base_steps: int = 30
    fast_steps: tuple[int, ...] = (6, 4)
    num_clips: int = 96
    num_lora_clips: int = 32
    num_vae_clips: int = 24
    strengths: tuple[float, ...] = (0.0, 0.5, 1.0)
    lengths: tuple[int, ...] = (33, 65)
    seed: int = 5000


@dataclass(frozen=True)
class Row:
    """One line of the table: shares of clips between 0 and 1."""

    name: str
    num_steps: int
    cfg: float
    strength: float | None
    num_clips: int
    colour: float
    shape: float
    motion: float
    neon: float
    zibbo: float
    orbit: float
    first_frame_psnr_db: float | None = None


@dataclass(frozen=True)
class Report:
    """The whole table, and the VAE's own quality."""

    rows: tuple[Row, ...]
    vae_psnr_db: float
    config: QualityConfig = field(default_factory=QualityConfig)

    def as_data(self) -> dict[str, object]:
        """Turn the report into what JSON can hold, with a sentence that says how it was measured."""
        about = (
            "Shares between 0 and 1, by lora_core.pocket.measure, on clips generated from caption mixtures and seeds "
            "that no training has seen; euler, shift 5, the models' own boundaries. colour, shape and motion: the clip "
            "shows what its caption asks for. neon, zibbo, orbit: the clip shows it, asked for or not. "
            "first_frame_psnr_db: how near the first frame of an image model's clips is to the picture it was given."
        )
        return {"about": about, **asdict(self)}


def measure_quality(
    base: OpenedModel, picture: OpenedModel, loras: Mapping[str, Path], config: QualityConfig
) -> Report:
    """Measure the base, the speed LoRA beside it, every LoRA at every strength, stacks, and the image pair.

    Args:
        base: the text-to-video pair.
        picture: the image-to-video pair.
        loras: name -> the high-noise expert's file.
        config: how.
    """
    table = _Table(Sampler(base, config.seed), loras, config)
    rows = (
        *table.base_rows(),
        *table.speed_rows(),
        *table.quality_rows(),
        *table.kind_rows(),
        *table.stack_rows(),
        *table.length_rows(),
    )
    pictures = _Table(Sampler(picture, config.seed), loras, config).picture_rows()
    return Report((*rows, *pictures), reconstruction_psnr_db(base, config.num_vae_clips), config)


def measure_cosmos(model: OpenedModel, config: QualityConfig) -> tuple[Row, ...]:
    """Measure how a Cosmos goes on from one frame and from five, in the usual steps and in few."""
    sampler, scenes = Sampler(model, config.seed), held_out_scenes(config.num_lora_clips)
    rows = []
    for num_known, name in ((1, PICTURE), (5, f"{PICTURE}, five frames of it")):
        for steps, cfg in ((config.base_steps, config.cfg), (config.fast_steps[0], config.cfg)):
            clips = sampler.clips(scenes, RunSettings(num_steps=steps, cfg=cfg), num_known=num_known)
            rows.append(measured_row(name, clips, scenes, steps, cfg, None))
    return tuple(rows)


@dataclass(frozen=True, eq=False)
class _Table:
    """What every row is measured with."""

    sampler: Sampler
    loras: Mapping[str, Path]
    config: QualityConfig

    def stack(self, strengths: Mapping[str, float]) -> LoraStack:
        """Return LoRAs at some strengths."""
        stack = LoraStack()
        for lora, strength in strengths.items():
            stack = stack.add(self.loras[lora], strength, name=lora)
        return stack

    def row(
        self,
        name: str,
        scenes: Sequence[world.Scene],
        num_steps: int,
        cfg: float,
        strengths: Mapping[str, float] | None = None,
    ) -> Row:
        """Make clips of scenes' captions, with LoRAs at some strengths, and measure them."""
        clips = self.sampler.clips(scenes, RunSettings(num_steps=num_steps, cfg=cfg), self.stack(strengths or {}))
        return measured_row(name, clips, scenes, num_steps, cfg, next(iter((strengths or {}).values()), None))

    def base_rows(self) -> list[Row]:
        scenes = held_out_scenes(self.config.num_clips)
        ways = [(self.config.base_steps, self.config.cfg), *((steps, 1.0) for steps in self.config.fast_steps)]
        return [self.row("base", scenes, steps, cfg) for steps, cfg in ways]

    def speed_rows(self) -> list[Row]:
        scenes = held_out_scenes(self.config.num_clips)
        few, *fewer = self.config.fast_steps
        ways = [*((few, strength) for strength in self.config.strengths), *((steps, 1.0) for steps in fewer)]
        return [self.row(SPEED, scenes, steps, 1.0, {SPEED: strength}) for steps, strength in ways]

    def kind_rows(self) -> list[Row]:
        rows, steps, cfg = [], self.config.base_steps, self.config.cfg
        for name, words in ASKED.items():
            asked = held_out_scenes(self.config.num_lora_clips, **words)
            rows += [self.row(name, asked, steps, cfg, {name: strength}) for strength in self.config.strengths]
            if words:
                ordinary = held_out_scenes(self.config.num_lora_clips)
                rows.append(self.row(f"{name}, ordinary prompts", ordinary, steps, cfg, {name: 1.0}))
        return rows

    def quality_rows(self) -> list[Row]:
        scenes, steps = held_out_scenes(self.config.num_clips), self.config.fast_steps[0]
        return [self.row(QUALITY, scenes, steps, 1.0, {QUALITY: strength}) for strength in self.config.strengths]

    def stack_rows(self) -> list[Row]:
        rows = []
        for names in ((SPEED, "neon_style"), (SPEED, "neon_style", "zibbo_character"), (SPEED, *ASKED)):
            words = {key: word for name in names for key, word in ASKED.get(name, {}).items()}
            scenes = held_out_scenes(self.config.num_lora_clips, **words)
            label = " + ".join(name.split("_")[0] for name in names)
            rows.append(self.row(label, scenes, self.config.fast_steps[0], 1.0, dict.fromkeys(names, 1.0)))
        return rows

    def length_rows(self) -> list[Row]:
        """Return what clips longer than the pocket's own show to their end, and what the LoRA for it makes of that."""
        rows = []
        for num_frames in (world.NUM_FRAMES, *self.config.lengths):
            for is_fast in (True, False):
                rows.append(self.long_row(f"{num_frames} frames", num_frames, is_fast=is_fast))
                if num_frames > world.NUM_FRAMES:
                    name = f"{num_frames} frames, longer"
                    rows.append(self.long_row(name, num_frames, is_fast=is_fast, strength=1.0))
                    rows.append(
                        self.long_row(f"{name}, radial", num_frames, is_fast=is_fast, strength=1.0, is_radial=True)
                    )
        return rows

    def long_row(
        self, name: str, num_frames: int, *, is_fast: bool, strength: float | None = None, is_radial: bool = False
    ) -> Row:
        """Make clips of a length, fast with the speed LoRA or in the usual steps, and read them to their end."""
        scenes = held_out_scenes(self.config.num_lora_clips)
        steps, cfg = (self.config.fast_steps[0], 1.0) if is_fast else (self.config.base_steps, self.config.cfg)
        strengths = {SPEED: 1.0 if is_fast else None, LONGER: strength}
        stack = self.stack({lora: given for lora, given in strengths.items() if given is not None})
        settings = RunSettings(num_steps=steps, cfg=cfg)
        clips = self.sampler.clips(scenes, settings, stack, num_frames=num_frames, is_radial=is_radial)
        return measured_row(name, clips, scenes, steps, cfg, strength, read=read_to_the_end)

    def picture_rows(self) -> list[Row]:
        scenes = held_out_scenes(self.config.num_clips)
        rows = [self.row(PICTURE, scenes, self.config.base_steps, self.config.cfg)]
        return [*rows, self.row(PICTURE, scenes, self.config.fast_steps[0], 1.0, {SPEED: 1.0})]


def measured_row(
    name: str,
    clips: np.ndarray,
    scenes: Sequence[world.Scene],
    num_steps: int,
    cfg: float,
    strength: float | None,
    *,
    read: Callable[[np.ndarray], Reading] = read_clip,
) -> Row:
    """Measure clips (B, T, 64, 64, 3) in [-1, 1] against the scenes whose captions they were made from."""
    readings = [read(clip) for clip in clips]
    first = [psnr_db(clip[:1], world.draw(scene, 1)) for clip, scene in zip(clips, scenes, strict=True)]

    def share(what: str) -> float:
        return float(np.mean([_shows(reading, scene, what) for reading, scene in zip(readings, scenes, strict=True)]))

    return Row(
        name=name,
        num_steps=num_steps,
        cfg=cfg,
        strength=strength,
        num_clips=len(scenes),
        colour=share("colour"),
        shape=share("shape"),
        motion=share("motion"),
        neon=float(np.mean([reading.neon > 0.5 for reading in readings])),
        zibbo=float(np.mean([reading.zibbo > 0.5 for reading in readings])),
        orbit=float(np.mean([reading.orbit > 0.5 for reading in readings])),
        first_frame_psnr_db=float(np.mean(first)) if name.startswith(PICTURE) else None,
    )


def psnr_db(frames: np.ndarray, drawn: np.ndarray) -> float:
    """Return the signal-to-noise ratio of frames in [-1, 1] against what they should be."""
    return float(10.0 * np.log10(4.0 / ((frames - drawn) ** 2).mean()))


def reconstruction_psnr_db(model: OpenedModel, num_clips: int) -> float:
    """Return the VAE's mean PSNR on whole clips of every kind that it was not trained on."""
    rng = np.random.default_rng(99)
    found = []
    for _ in range(num_clips):
        clip = world.draw(world.random_scene_of_any_kind(rng))
        pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None]
        decoded = model.vae_decode(model.vae_encode(pixels))[0].permute(1, 2, 3, 0).float().clamp(-1, 1).numpy()
        found.append(psnr_db(decoded, clip))
    return float(np.mean(found))


def format_table(report: Report) -> str:
    """Write the table as plain text, shares in percent."""
    return "\n".join([*format_rows(report.rows), f"VAE: {report.vae_psnr_db:.1f} dB PSNR on whole clips of every kind"])


def format_rows(rows: Sequence[Row]) -> list[str]:
    """Write rows as lines of plain text under a heading, shares in percent."""
    lines = [f"{'':34}{'steps':>6}{'cfg':>5}{'at':>5}{'clips':>6}" + "".join(f"{name:>8}" for name in MEASURES)]
    for row in rows:
        strength = "" if row.strength is None else f"{row.strength:g}"
        shares = "".join(f"{100 * getattr(row, name):>7.0f}%" for name in MEASURES)
        first = "" if row.first_frame_psnr_db is None else f"  first frame {row.first_frame_psnr_db:.1f} dB"
        lines.append(f"{row.name:34}{row.num_steps:>6}{row.cfg:>5g}{strength:>5}{row.num_clips:>6}{shares}{first}")
    return lines


def _shows(reading: Reading, scene: world.Scene, what: str) -> bool:
    if scene.shape == world.CHARACTER and what in ("colour", "shape"):
        return getattr(reading, what) == {"colour": "purple", "shape": "circle"}[what]
    return getattr(reading, what) == getattr(scene, what)
