"""What a merged stack keeps of each LoRA's score on the pocket model, method by method, against the stack itself.

    python benchmarks/merging_scores.py --clips 24
    python benchmarks/merging_scores.py --clips 48 --strengths 1 0.4 1     at which each of the three shows

Three LoRAs (speed, style, character) in six steps without guidance, on held-out captions that ask for the character. A
score is the mean of `pocket.measure` over the clips; speed's is the share of clips whose shape can be told.
Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from lora_core import LoraStack, MergeRecipe, RunSettings, merge_loras, open_wan
from lora_core.pocket import world
from lora_core.pocket.measure import read_clip
from lora_core.pocket.samples import Sampler
from lora_core.pocket.scenes import held_out_scenes

LORAS = ("speed_6steps", "neon_style", "zibbo_character")
SCORES = ("neon", "zibbo")
#: What the character looks like where a shape can be told at all.
BODY = "circle"
RECIPES = (
    MergeRecipe(),
    MergeRecipe(energy=0.999),
    MergeRecipe(energy=0.995),
    MergeRecipe(energy=0.99),
    MergeRecipe(rank=24),
    MergeRecipe(rank=16),
    MergeRecipe(rank=8),
    MergeRecipe(method="ties", density=0.5),
    MergeRecipe(method="dare", density=0.9),
    MergeRecipe(method="knots", density=0.5),
)
SETTINGS = RunSettings(num_steps=6, cfg=1.0)


def main() -> None:
    """Measure the stack, then each merge of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--strengths", type=float, nargs=len(LORAS), default=[1.0] * len(LORAS))
    options = parser.parse_args()
    sampler, scenes = Sampler(open_wan("pocket"), 5000), held_out_scenes(options.clips, shape=world.CHARACTER)
    stack = LoraStack()
    for name, strength in zip(LORAS, options.strengths, strict=True):
        stack = stack.add(name, strength)
    print(f"{' + '.join(f'{entry.name} {entry.strength:g}' for entry in stack)}, {options.clips} clips")
    print("method           error   neon  zibbo  speed  frames apart, at most")
    whole = sampler.clips(scenes, SETTINGS, stack)
    rows = [scored("the stack", 0.0, whole, whole)]
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            merged = merge_loras(stack, sampler.model.spec, recipe)
            file = merged.write(Path(folder, "merged.safetensors"))[0]
            clips = sampler.clips(scenes, SETTINGS, LoraStack().add(file))
        error = max(file.error for file in merged.files.values())
        rows.append(scored(" ".join(map(str, recipe.to_dict().values())), error, clips, whole))
    print(json.dumps({"clips": options.clips, "strengths": options.strengths, "rows": rows}))


def scored(name: str, error: float, clips: np.ndarray, whole: np.ndarray) -> dict[str, object]:
    """Read the clips, print a line, and return it."""
    readings = [read_clip(clip) for clip in clips]
    scores = {score: float(np.mean([getattr(reading, score) for reading in readings])) for score in SCORES}
    scores["speed"] = float(np.mean([reading.shape == BODY for reading in readings]))
    apart = float(np.abs(clips - whole).max())
    print(f"{name:15} {error:6.3f}  {'  '.join(f'{value:.3f}' for value in scores.values())}  {apart:.1e}", flush=True)
    return {"name": name, "error": error, **scores, "frames_apart": apart}


if __name__ == "__main__":
    main()
