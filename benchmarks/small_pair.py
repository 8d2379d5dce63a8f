"""A pair of experts as large as pocket-small and unrelated to it: begun with other numbers, trained on other clips.

    python benchmarks/small_pair.py FOLDER [--steps 1200] [--num-clips 400] [--seed 1]

Leaves FOLDER/small_high_noise.safetensors and its low-noise twin, to be opened with the pocket's VAE, text encoder and
tokenizer: the control of `benchmarks/transfer.py`. With --steps 0 it stays untrained. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from lora_core import make_config, open_wan, prepare, save_video, train
from lora_core.experts import EXPERTS
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.pocket import pocket_paths
from lora_core.pocket import world
from lora_core.pocket.experts import SMALL, build_expert
from lora_core.pocket.export import write_expert
from lora_core.pocket.recipes import CLIP_KEYS, recipe

FPS = 16


def untrained_pair(folder: Path, seed: int) -> Path:
    """Write an untrained pair whose experts begin alike, as the pocket's do; return the high-noise file."""
    for name in EXPERTS:
        write_expert(build_expert(SMALL, seed), folder / f"small_{name}.safetensors")
    return folder / "small_high_noise.safetensors"


def open_small(high: Path) -> WanModel:
    """Open a pair with the pocket's other pieces."""
    paths = pocket_paths()
    return open_wan(high, text_encoder=paths.text_encoder, tokenizer=paths.tokenizer, vae=paths.vae)


def draw_clips(folder: Path, num_clips: int, seed: int, **words: str | bool) -> Path:
    """Write captioned clips of scenes that the base knows, or that `words` fix; a folder that is there stays."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(num_clips):
        scene = world.random_scene(rng, **words)
        frames = ((world.draw(scene) + 1.0) * 127.5).round().astype(np.uint8)
        save_video(frames, folder / f"{i:04d}.mp4", FPS)
        (folder / f"{i:04d}.txt").write_text(world.caption(scene) + "\n", encoding="utf-8")
    return folder


def train_pair(high: Path, folder: Path, steps: int, num_clips: int, seed: int) -> Path:
    """Train all weights of an untrained pair; return the high-noise file of the result."""
    clips = draw_clips(folder / "clips", num_clips, seed)
    given = {**CLIP_KEYS, **recipe("small").keys, "lr": 5e-3, "batch_size": 16, "steps": steps, "seed": seed}
    model, config = open_small(high), make_config({**given, "clips": str(clips), "name": "small", "model": str(high)})
    prepared = prepare(config.folder, model, config.clips)
    done = train(config, model, prepared.cache, folder / "run")
    return done.files["high_noise"]


def main() -> None:
    """Make, train, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--num-clips", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    untrained = untrained_pair(options.folder / "untrained", options.seed)
    high = untrained
    if options.steps:
        high = train_pair(untrained, options.folder, options.steps, options.num_clips, options.seed)
    for name in EXPERTS:
        shutil.copy(high.with_name(f"small_{name}.safetensors"), options.folder / f"small_{name}.safetensors")
    print(json.dumps({"high": str(options.folder / "small_high_noise.safetensors"), "steps": options.steps}))


if __name__ == "__main__":
    main()
