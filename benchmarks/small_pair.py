"""A pair of experts smaller than the pocket's, on its latents and its texts: cut untrained, and trained by the trainer.

    python benchmarks/small_pair.py FOLDER [--steps 2000] [--num-clips 240] [--seed 0]

Leaves FOLDER/small_high_noise.safetensors and its low-noise twin, to be opened with the pocket's VAE, text encoder and
tokenizer (`benchmarks/transfer.py` does). With --steps 0 the pair stays untrained. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from lora_core import make_config, open_wan, prepare, save_video, train
from lora_core.experts import EXPERTS
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.pocket import pocket_paths
from lora_core.pocket import world
from lora_core.pocket.export import write_expert

FPS = 16


def cut_pair(folder: Path, *, num_heads: int = 2, ffn_width: int = 256, num_blocks: int = 4, seed: int = 0) -> Path:
    """Write an untrained pair whose experts begin alike, as the pocket's do; return the high-noise file."""
    torch.manual_seed(seed)
    expert = WanTransformer3DModel(
        num_attention_heads=num_heads,
        attention_head_dim=32,
        text_dim=64,
        ffn_dim=ffn_width,
        num_layers=num_blocks,
        cross_attn_norm=True,
        rope_max_seq_len=1024,
    )
    torch.nn.init.zeros_(expert.proj_out.weight)
    torch.nn.init.zeros_(expert.proj_out.bias)
    for name in EXPERTS:
        write_expert(expert, folder / f"small_{name}.safetensors")
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
    given = {
        "clips": str(clips),
        "name": "small",
        "model": str(high),
        "num_frames": world.NUM_FRAMES,
        "resolution": world.SIZE_PX,
        "method": "full",
        "steps": steps,
        "batch_size": 8,
        "lr": 2e-3,
        "lr_schedule": "cosine",
        "warmup": 50,
        "ema": 0.99,
        "timesteps": "uniform",
        "shift": 3.0,
        "high_share": 0.4,
        "caption_dropout": 0.1,
        "held_out": 0.05,
        "validate_every": max(1, steps // 6),
        "save_every": 0,
        "memory_plan": "as_asked",
        "seed": seed,
    }
    model, config = open_small(high), make_config(given)
    prepared = prepare(config.folder, model, config.clips)
    done = train(config, model, prepared.cache, folder / "run")
    return done.files["high_noise"]


def main() -> None:
    """Cut, train, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--num-clips", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    untrained = cut_pair(options.folder / "untrained", seed=options.seed)
    high = untrained
    if options.steps:
        high = train_pair(untrained, options.folder, options.steps, options.num_clips, options.seed)
    for name in EXPERTS:
        shutil.copy(high.with_name(f"small_{name}.safetensors"), options.folder / f"small_{name}.safetensors")
    print(json.dumps({"high": str(options.folder / "small_high_noise.safetensors"), "steps": options.steps}))


if __name__ == "__main__":
    main()
