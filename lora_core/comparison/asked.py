"""The videos that are asked of everything that is judged: prompts, and the noise that each begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .config import CompareConfig


@dataclass(frozen=True)
class Asked:
    """One video of those that are judged by.

    Attributes:
        seed: of its noise, the same for all that are judged.
    """

    kind: str
    prompt: str
    seed: int

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.kind}-{self.seed}"


def asked_videos(config: CompareConfig) -> tuple[Asked, ...]:
    """Return the videos that are made of each subject; those that show the clips' content come first."""
    settings = config.settings
    learning = settings.learning_prompts
    both = [("learning", prompt) for prompt in learning] + [("drift", prompt) for prompt in settings.drift_prompts]
    return tuple(Asked(kind, prompt, seed) for seed, (kind, prompt) in enumerate(both))


def question(config: CompareConfig) -> dict[str, Any]:
    """Return what readings are the answer to; those to another question are out of date."""
    settings = config.settings
    asked = [[video.kind, video.prompt, video.seed] for video in asked_videos(config)]
    return {"asked": asked, "score": settings.score, "steps": settings.video_steps, "cfg": settings.video_cfg}
