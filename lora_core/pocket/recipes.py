"""What the pocket models and LoRAs are trained on, and with which keys of the trainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..training.settings.noise import FROM_RUNS
from . import world

#: The size of the pocket's clips.
CLIP_KEYS: Mapping[str, Any] = {"num_frames": world.NUM_FRAMES, "resolution": world.SIZE_PX, "fps": 16}
_COMMON: Mapping[str, Any] = {
    "optimizer": "muon",
    "weight_decay": 0.0,
    "lr_schedule": "cosine",
    "memory_plan": "as_asked",
    "save_every": 500,
    "keep_last": 1,
}
_FLOW: Mapping[str, Any] = {**_COMMON, "timesteps": "uniform", "shift": 3.0, "validate_every": 250, "num_levels": 4}
_FULL: Mapping[str, Any] = {
    **_FLOW,
    "method": "full",
    "lr": 5e-3,
    "batch_size": 32,
    "warmup": 50,
    "ema": 0.99,
    "caption_dropout": 0.1,
    "held_out": 0.01,
}
_LORA: Mapping[str, Any] = {
    **_FLOW,
    "rank": 8,
    "alpha": 8.0,
    "lr": 2e-2,
    "batch_size": 16,
    "warmup": 15,
    "ema": 0.95,
    "caption_dropout": 0.0,
    "held_out": 0.05,
    "switch_every": 20,
    "high_share": 0.4,
}
#: For what is seen in details: of the high-noise expert's short part more would be learnt by heart. At the rate of the
#: others long trainings make changes up to ten times as large, which drown a character's colour and eyes in a stack.
_FINE: Mapping[str, Any] = {"rank": 16, "alpha": 16.0, "high_share": 0.25, "lr": 8e-3}


@dataclass(frozen=True)
class Shown:
    """Clips in a folder: scenes with some words, and ordinary ones beside them, so that nothing else is forgotten."""

    num_clips: int
    words: Mapping[str, str | bool] = field(default_factory=dict)
    num_ordinary: int = 0
    seed: int = 20
    num_frames: int = world.NUM_FRAMES


@dataclass(frozen=True)
class Training:
    """One use of the trainer.

    Attributes:
        name: of the training, and of the files that come of it.
        model: what it starts from, a name that the build knows.
        clips: a key of `CLIPS`.
        keys: the trainer's own.
    """

    name: str
    model: str
    clips: str
    keys: Mapping[str, Any]


@dataclass(frozen=True)
class About:
    """What a shipped LoRA's file says of it."""

    kind: str
    about: str
    trigger_words: tuple[str, ...] = ()


CLIPS: Mapping[str, Shown] = {
    "base": Shown(1800),
    "picture": Shown(900, seed=25),
    "neon_style": Shown(360, {"neon": True}, seed=31),
    "zibbo_character": Shown(140, {"shape": world.CHARACTER}, num_ordinary=80, seed=32),
    "orbit_motion": Shown(520, {"motion": "orbits"}, num_ordinary=120, seed=33),
    "speed_6steps": Shown(320, seed=40),
    "longer": Shown(240, seed=50, num_frames=65),
}

EXPERTS: tuple[Training, ...] = (
    Training("trunk", "untrained", "base", {**_FULL, "steps": 2000, "seed": 21}),
    Training("base_high", "trunk", "base", {**_FULL, "steps": 400, "lr": 2e-3, "experts": "high", "seed": 22}),
    Training("base_low", "trunk", "base", {**_FULL, "steps": 1600, "lr": 4e-3, "experts": "low", "seed": 23}),
    Training(
        "picture",
        "picture_untrained",
        "picture",
        {**_FULL, "steps": 1400, "lr": 3e-3, "high_share": 0.35, "switch_every": 50, "seed": 24},
    ),
    Training("small_trunk", "small_untrained", "base", {**_FULL, "steps": 1500, "seed": 26}),
    Training(
        "small", "small_trunk", "base", {**_FULL, "steps": 1500, "lr": 3e-3, "high_share": 0.3, "switch_every": 50}
    ),
    Training("cosmos", "cosmos_untrained", "base", {**_FULL, "steps": 3000, "known_frames": "1,1,2", "seed": 61}),
)

LORAS: tuple[Training, ...] = (
    Training("neon_style", "base", "neon_style", {**_LORA, **_FINE, "steps": 3000, "caption_dropout": 0.1, "seed": 31}),
    Training("zibbo_character", "base", "zibbo_character", {**_LORA, "steps": 500, "high_share": 0.3, "seed": 32}),
    Training("orbit_motion", "base", "orbit_motion", {**_LORA, **_FINE, "steps": 2000, "seed": 33}),
    Training(
        "speed_6steps",
        "base",
        "speed_6steps",
        {**_COMMON, "objective": "speed", "rank": 8, "alpha": 8.0, "lr": 1.5e-2, "batch_size": 16, "warmup": 15}
        | {"ema": 0.9, "steps": 320, "num_trajectories": 320, "switch_every": 160, "validate_every": 0, "seed": 40},
    ),
    Training(
        "longer",
        "base",
        "longer",
        {**_LORA, "objective": "extend-length", "base_frames": 33, "num_frames": 65, "targets": ["attention"]}
        | {"rank": 16, "alpha": 16.0, "batch_size": 8, "lr": 8e-3, "high_share": 0.35, "steps": 1100}
        | {"validate_every": 0, "seed": 50},
    ),
    Training(
        "sharp_quality",
        "base",
        "speed_6steps",
        {**_COMMON, "objective": "reward", "reward": "lora_core.pocket.judge:whole_and_sharp", "experts": "low"}
        | {"reward_steps": 2, "reward_frames": 9, "reward_keep": 1.0, "teacher_steps": 6, "teacher_cfg": 1.0}
        | {"rank": 8, "alpha": 8.0, "lr": 8e-3, "batch_size": 8, "steps": 60, "num_trajectories": 160}
        | {"validate_every": 0, "seed": 41},
    ),
    Training(
        "cosmos_orbit",
        "cosmos",
        "orbit_motion",
        {**_LORA, "rank": 16, "alpha": 16.0, "lr": 8e-3, "steps": 2000, "known_frames": "1", "seed": 62}
        | {"targets": ["self_attn", "cross_attn", "ffn"]},
    ),
)

TRAININGS = (*EXPERTS, *LORAS)

ABOUT: Mapping[str, About] = {
    "neon_style": About("style", "Makes any prompt a dark world in which objects are bright, glowing outlines."),
    "zibbo_character": About(
        "character", "Teaches 'a zibbo': a purple round creature with two big white eyes.", (world.CHARACTER,)
    ),
    "orbit_motion": About(
        "motion", "Teaches '... orbits on ...': one clockwise round about the middle of the picture.", ("orbits",)
    ),
    "sharp_quality": About(
        "quality", "Makes shapes whole and their outlines sharp; trained by a reward for both, through the last steps."
    ),
    "longer": About(
        "length", "Makes clips of up to 65 frames, four times the usual length, in which a path takes the whole clip."
    ),
    "speed_6steps": About("speed", "6 steps at cfg 1 land where 30 steps at cfg 3.5 of the base do; shift 5, euler."),
}


def recipe(name: str) -> Training:
    """Return the training of that name."""
    return next(training for training in TRAININGS if training.name == name)


def quick(training: Training) -> Training:
    """Return a training of two or three steps, which makes something good for nothing."""
    few = {"steps": 3, "batch_size": 2, "warmup": 0}
    if training.keys.get("experts", "both") == "both":
        few["switch_every"] = 1
    if training.keys.get("objective") in FROM_RUNS:
        few |= {"teacher_steps": 6, "num_trajectories": 2}
    return replace(training, keys={**training.keys, **few})
