"""A comparison that is small enough for tests: six of the clips that come along, and a handful of steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lora_core

CLIPS = Path(lora_core.__file__).parents[1] / "examples" / "clips"
RATES = {"full": [1e-3], "lora": [1e-2], "qlora": [1e-2]}
DRIFT = "a red circle moves left on a plain background"


def few_clips(folder: Path) -> Path:
    """Copy six clips with their captions into a folder."""
    folder.mkdir(exist_ok=True)
    for file in sorted(path for path in CLIPS.iterdir() if path.is_file())[:12]:  # trainings leave a cache there
        shutil.copy(file, folder)
    return folder


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
