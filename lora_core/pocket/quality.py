"""The quality table of the pocket world: how often clips show what was asked, for prompts and seeds not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..plan.sigmas import flow_sigmas
from . import world
from .flow import SHIFT, ExpertPair, sample_latents, seeded_noise
from .latents import World, decode_frames, encode_frames, held_out_words
from .measure import Reading, read_clip
from .train_loras import LoraPair, with_loras
from .train_speed import SPEED


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
    seed: int = 5000
    batch_size: int = 32


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


def held_out_scenes(num_scenes: int, **words: str) -> list[world.Scene]:
    """List scenes from the mixtures kept for measuring; `words` replace what a LoRA is asked for instead."""
    rng = np.random.default_rng(0)
    mixtures = held_out_words()
    scenes = []
    for index in range(num_scenes):
        colour, shape, motion, background = mixtures[index % len(mixtures)]
        asked = {"colour": colour, "shape": shape, "motion": motion, "background": background, **words}
        scenes.append(world.random_scene(rng, **asked))
    return scenes


def generate(
    parts: World, pair: ExpertPair, scenes: Sequence[world.Scene], num_steps: int, cfg: float, config: QualityConfig
) -> np.ndarray:
    """Generate one clip per scene's caption, float32 (B, T, 64, 64, 3) in [-1, 1]."""
    text, empty_text = parts.embed([world.caption(scene) for scene in scenes]), parts.embed([""])
    noise = seeded_noise(len(scenes), config.seed)
    clips = []
    for start in range(0, len(scenes), config.batch_size):
        part = slice(start, start + config.batch_size)
        latents = sample_latents(pair, noise[part], text[part], empty_text, flow_sigmas(num_steps, SHIFT), cfg)
        clips.append(decode_frames(parts.vae, latents))
    return np.concatenate(clips)


def measure_row(
    name: str, clips: np.ndarray, scenes: Sequence[world.Scene], num_steps: int, cfg: float, strength: float | None
) -> Row:
    """Measure clips against the scenes whose captions they were made from."""
    readings = [read_clip(clip) for clip in clips]

    def share(field: str) -> float:
        return float(np.mean([_shows(reading, scene, field) for reading, scene in zip(readings, scenes, strict=True)]))

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
    )


@dataclass(frozen=True)
class Report:
    """The whole table, and the VAE's own quality."""

    rows: tuple[Row, ...]
    vae_psnr_db: float
    config: QualityConfig

    def as_data(self) -> dict[str, object]:
        """Turn the report into what JSON can hold, with a sentence that says how it was measured."""
        about = (
            "Shares between 0 and 1, by lora_core.pocket.measure, on clips generated from caption mixtures and seeds "
            "that no training has seen; euler, shift 5, boundary 0.875. colour, shape and motion: the clip shows what "
            "its caption asks for. neon, zibbo, orbit: the clip shows it, asked for or not."
        )
        return {"about": about, **asdict(self)}


def measure_quality(parts: World, pair: ExpertPair, loras: Mapping[str, LoraPair], config: QualityConfig) -> Report:
    """Measure the base, the speed LoRA beside it, every LoRA at every strength, and stacks."""
    rows = (
        *_base_rows(parts, pair, config),
        *_speed_rows(parts, pair, loras, config),
        *_kind_rows(parts, pair, loras, config),
        *_stack_rows(parts, pair, loras, config),
    )
    return Report(rows, reconstruction_psnr_db(parts, config.num_vae_clips), config)


def reconstruction_psnr_db(parts: World, num_clips: int) -> float:
    """Give the VAE's mean PSNR on whole clips of every kind that it was not trained on."""
    rng = np.random.default_rng(99)
    clips = np.stack([world.draw(world.random_scene_of_any_kind(rng)) for _ in range(num_clips)])
    decoded = np.concatenate(
        [decode_frames(parts.vae, encode_frames(parts.vae, part)) for part in np.array_split(clips, num_clips // 4)]
    )
    return float(np.mean(10.0 * np.log10(4.0 / ((decoded - clips) ** 2).mean(axis=(1, 2, 3, 4)))))


def format_table(report: Report) -> str:
    """Write the table as plain text, shares in percent."""
    measures = ("colour", "shape", "motion", "neon", "zibbo", "orbit")
    lines = [f"{'':34}{'steps':>6}{'cfg':>5}{'at':>5}{'clips':>6}" + "".join(f"{name:>8}" for name in measures)]
    for row in report.rows:
        strength = "" if row.strength is None else f"{row.strength:g}"
        shares = "".join(f"{100 * getattr(row, name):>7.0f}%" for name in measures)
        lines.append(f"{row.name:34}{row.num_steps:>6}{row.cfg:>5g}{strength:>5}{row.num_clips:>6}{shares}")
    return "\n".join([*lines, f"VAE: {report.vae_psnr_db:.1f} dB PSNR on whole clips of every kind"])


def _shows(reading: Reading, scene: world.Scene, field: str) -> bool:
    if scene.shape == world.CHARACTER and field in ("colour", "shape"):
        return getattr(reading, field) == {"colour": "purple", "shape": "circle"}[field]
    return getattr(reading, field) == getattr(scene, field)


def _base_rows(parts: World, pair: ExpertPair, config: QualityConfig) -> list[Row]:
    scenes = held_out_scenes(config.num_clips)
    ways = [(config.base_steps, config.cfg), *((steps, 1.0) for steps in config.fast_steps)]
    return [
        measure_row("base", generate(parts, pair, scenes, steps, cfg, config), scenes, steps, cfg, None)
        for steps, cfg in ways
    ]


def _speed_rows(parts: World, pair: ExpertPair, loras: Mapping[str, LoraPair], config: QualityConfig) -> list[Row]:
    scenes = held_out_scenes(config.num_clips)
    few, *fewer = config.fast_steps
    ways = [*((few, strength) for strength in config.strengths), *((steps, 1.0) for steps in fewer)]
    rows = []
    for steps, strength in ways:
        fast = with_loras(pair, {SPEED: loras[SPEED]}, {SPEED: strength})
        clips = generate(parts, fast, scenes, steps, 1.0, config)
        rows.append(measure_row(SPEED, clips, scenes, steps, 1.0, strength))
    return rows


ASKED = {"neon_style": {}, "zibbo_character": {"shape": world.CHARACTER}, "orbit_motion": {"motion": "orbits"}}
"""What each LoRA's prompts ask for beyond a held-out mixture."""


def _kind_rows(parts: World, pair: ExpertPair, loras: Mapping[str, LoraPair], config: QualityConfig) -> list[Row]:
    rows = []
    for name, words in ASKED.items():
        for strength in config.strengths:
            changed = with_loras(pair, {name: loras[name]}, {name: strength})
            asked = held_out_scenes(config.num_lora_clips, **words)
            clips = generate(parts, changed, asked, config.base_steps, config.cfg, config)
            rows.append(measure_row(name, clips, asked, config.base_steps, config.cfg, strength))
        if words:
            ordinary = held_out_scenes(config.num_lora_clips)
            clips = generate(parts, changed, ordinary, config.base_steps, config.cfg, config)
            label = f"{name}, ordinary prompts"
            rows.append(measure_row(label, clips, ordinary, config.base_steps, config.cfg, config.strengths[-1]))
    return rows


def _stack_rows(parts: World, pair: ExpertPair, loras: Mapping[str, LoraPair], config: QualityConfig) -> list[Row]:
    rows = []
    for names in ((SPEED, "neon_style"), (SPEED, "neon_style", "zibbo_character"), (SPEED, *ASKED)):
        words = {key: word for name in names for key, word in ASKED.get(name, {}).items()}
        scenes = held_out_scenes(config.num_lora_clips, **words)
        stacked = with_loras(pair, {name: loras[name] for name in names}, dict.fromkeys(names, 1.0))
        steps = config.fast_steps[0]
        clips = generate(parts, stacked, scenes, steps, 1.0, config)
        rows.append(measure_row(" + ".join(name.split("_")[0] for name in names), clips, scenes, steps, 1.0, 1.0))
    return rows
