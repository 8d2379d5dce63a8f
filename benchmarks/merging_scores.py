"""What a merged stack keeps of each LoRA's score on the pocket model, method by method, against the stack itself.

    python benchmarks/merging_scores.py --clips 24

Two stacks of three LoRAs each in six steps, on held-out captions that ask for what they teach: speed, character and
motion, and speed, style and motion. A score is the mean of `pocket.measure` over the clips; speed's is the share of
clips whose shape is the one that was asked for. Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lora_core import LoraStack, MergeRecipe, RunSettings, merge_loras, open_wan
from lora_core.pocket import world
from lora_core.pocket.measure import read_clip
from lora_core.pocket.samples import Sampler
from lora_core.pocket.scenes import held_out_scenes

#: LoRAs of a stack -> what their captions ask for, and the scores that are theirs.
STACKS = {
    ("speed_6steps", "zibbo_character", "orbit_motion"): ({"shape": world.CHARACTER, "motion": "orbits"}, "zibbo"),
    ("speed_6steps", "neon_style", "orbit_motion"): ({"motion": "orbits"}, "neon"),
}
RECIPES = (
    MergeRecipe(),
    MergeRecipe(energy=0.99),
    MergeRecipe(rank=16),
    MergeRecipe(rank=8),
    MergeRecipe(method="ties", density=0.5),
    MergeRecipe(method="dare", density=0.9),
    MergeRecipe(method="knots", density=0.5),
)
SETTINGS = RunSettings(num_steps=6, cfg=1.0)


def main() -> None:
    """Measure each stack, then each merge of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=24)
    options = parser.parse_args()
    sampler = Sampler(open_wan("pocket"), 5000)
    rows = [row for names in STACKS for row in measured(names, sampler, options.clips)]
    print(json.dumps({"clips": options.clips, "rows": rows}))


def measured(names: Sequence[str], sampler: Sampler, num_clips: int) -> Iterator[dict[str, object]]:
    """Yield the scores of a stack and of its merges, each printed as it comes."""
    words, own = STACKS[tuple(names)]
    scenes, stack = held_out_scenes(num_clips, **words), LoraStack()
    for name in names:
        stack = stack.add(name)
    print(
        f"{' + '.join(names)}, {num_clips} clips\nmethod           error  {own:6} orbit  speed  frames apart, at most"
    )
    whole = sampler.clips(scenes, SETTINGS, stack)
    yield scored("the stack", 0.0, whole, whole, scenes, own)
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            merged = merge_loras(stack, sampler.model.spec, recipe)
            file = merged.write(Path(folder, "merged.safetensors"))[0]
            clips = sampler.clips(scenes, SETTINGS, LoraStack().add(file))
        error = max(file.error for file in merged.files.values())
        name = " ".join(str(value) for value in recipe.to_dict().values())
        yield scored(name, error, clips, whole, scenes, own)


def scored(
    name: str, error: float, clips: np.ndarray, whole: np.ndarray, scenes: Sequence[world.Scene], own: str
) -> dict[str, object]:
    """Read the clips, print a line, and return it."""
    readings = [read_clip(clip) for clip in clips]
    scores = {score: float(np.mean([getattr(reading, score) for reading in readings])) for score in (own, "orbit")}
    pairs = zip(readings, scenes, strict=True)
    right = [
        reading.zibbo > 0.5 if scene.shape == world.CHARACTER else reading.shape == scene.shape
        for reading, scene in pairs
    ]
    scores["speed"] = float(np.mean(right))
    apart = float(np.abs(clips - whole).max())
    print(f"{name:15} {error:6.3f}  {'  '.join(f'{value:.3f}' for value in scores.values())}  {apart:.1e}", flush=True)
    return {"name": name, "error": error, **scores, "frames_apart": apart}


if __name__ == "__main__":
    main()
