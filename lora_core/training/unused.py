"""Keys that would do nothing beside the others: each is refused, for nothing a user gave is ignored quietly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .settings.noise import FROM_RUNS

if TYPE_CHECKING:
    from .config import TrainConfig


@dataclass(frozen=True)
class UnusedRule:
    """Some keys that act under a condition only.

    Attributes:
        acts: whether they do, in a configuration.
        because: why they do nothing otherwise, behind "would do nothing".
        instead: what would let them act, an imperative sentence.
    """

    keys: tuple[str, ...]
    acts: Callable[[TrainConfig], bool]
    because: str
    instead: str


@dataclass(frozen=True)
class Unused:
    """A key that somebody gave and that does nothing."""

    key: str
    because: str
    instead: str


RULES: tuple[UnusedRule, ...] = (
    UnusedRule(
        ("rank", "alpha", "rslora", "adapter", "dropout", "prune_width"),
        lambda c: c.adapter.method != "full",
        "with method = full",
        "set method = lora",
    ),
    UnusedRule(
        ("base", "offload"), lambda c: c.adapter.method == "qlora", "without method = qlora", "set method = qlora"
    ),
    UnusedRule(("correct_for",), lambda c: c.adapter.method == "qlora", "without a rounded base", "set method = qlora"),
    UnusedRule(("full_rank",), lambda c: c.adapter.method == "full", "without method = full", "set method = full"),
    UnusedRule(
        ("rslora",), lambda c: c.adapter.adapter in ("lora", "dora"), "with LoHa and LoKr", "set adapter = lora"
    ),
    UnusedRule(
        ("student_steps", "teacher_steps", "teacher_cfg", "num_trajectories"),
        lambda c: c.noise.objective in FROM_RUNS,
        "with an objective that learns from the clips themselves",
        "set objective = speed",
    ),
    UnusedRule(
        ("reward", "reward_steps", "reward_frames", "reward_keep"),
        lambda c: c.noise.objective == "reward",
        "without objective = reward",
        "set objective = reward",
    ),
    UnusedRule(
        ("base_frames", "base_weight", "progressive", "radial_decay", "dense_blocks", "consistency"),
        lambda c: c.noise.objective == "extend-length",
        "without objective = extend-length",
        "set objective = extend-length",
    ),
    UnusedRule(
        ("timesteps", "timestep_scale", "caption_dropout"),
        lambda c: c.noise.objective not in FROM_RUNS,
        "with an objective whose noise levels are the student's own",
        "set objective = flow",
    ),
    UnusedRule(
        ("timestep_scale",),
        lambda c: c.noise.timesteps == "logit_normal",
        "with timesteps = uniform",
        "set timesteps = logit_normal",
    ),
    UnusedRule(
        ("switch_every", "high_share"), lambda c: c.learning.experts == "both", "with one expert", "set experts = both"
    ),
    UnusedRule(("num_windows",), lambda c: c.clips.cut == "uniform", "without cut = uniform", "set cut = uniform"),
    UnusedRule(
        ("caption_from_trigger",), lambda c: bool(c.clips.trigger), "without a trigger", "set trigger = the word"
    ),
    UnusedRule(
        ("patience", "num_levels"), lambda c: c.watching.validate_every > 0, "without validation", "set validate_every"
    ),
    UnusedRule(
        ("preview_prompts", "preview_seed", "preview_steps", "preview_cfg", "preview_negative"),
        lambda c: c.watching.preview_every > 0,
        "without previews",
        "set preview_every",
    ),
    UnusedRule(
        ("keep_last", "keep_every"), lambda c: c.watching.save_every > 0, "without checkpoints", "set save_every"
    ),
)


def unused_key(config: TrainConfig, given: Iterable[str]) -> Unused | None:
    """Return the first key among those given that does nothing, or None."""
    named = set(given)
    for rule in RULES:
        if not rule.acts(config):
            for key in rule.keys:
                if key in named:
                    return Unused(key, rule.because, rule.instead)
    return None
