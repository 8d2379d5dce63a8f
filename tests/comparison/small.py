"""A comparison that is small enough for tests: six of the clips that come along, and a handful of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filmed import shipped_clips

RATES = {"full": [1e-3], "lora": [1e-2], "qlora": [1e-2]}
DRIFT = "a red circle moves left on a plain background"


def few_clips(folder: Path) -> Path:
    """Copy six clips with their captions into a folder."""
    return shipped_clips(folder, 6)


def keys(clips: Path, **more: Any) -> dict[str, Any]:
    """Return what `make_comparison` takes."""
    table = {
        "seeds": [0],
        "rates": RATES,
        "score": "blorp",
        "learning_prompts": ["a blorp moves right on a plain background"],
        "drift_prompts": [DRIFT],
        "video_steps": 2,
    }
    small = {"steps": 4, "switch_every": 1, "num_levels": 2, "validate_every": 2, "held_out": 0.4, "rank": 2}
    return {"clips": str(clips), "preset": "quick", **small, **more, "compare": table}
