"""The memory of a training: predicted before any weight is read, and measured while it takes steps.

    python benchmarks/train_memory.py                                    the pocket model, on the CPU
    python benchmarks/train_memory.py --model 1.3b --blocks 3 --clips 5x32x32
    python benchmarks/train_memory.py --model 1.3b --blocks 30 --clips 9x60x104 --device cuda

Measured are the bytes of tensors made while one expert is made ready and takes two steps; on a GPU, what PyTorch has
allocated there at the most. Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lora_core.checkpoints.meter import MemoryMeter
from lora_core.experts import EXPERTS
from lora_core.families.opened import OpenedModel
from lora_core.families.wan.open import open_wan
from lora_core.training.assembly import make_learner, make_sources, turns_of
from lora_core.training.clips.cached import CachedClip, ClipCache
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.memory.load import load_of_cache
from lora_core.training.memory.predict import predicted
from lora_core.training.ranks import Alone

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora"},
    "dora": {"method": "lora", "adapter": "dora"},
    "qlora nf4": {"method": "qlora"},
    "qlora int8": {"method": "qlora", "base": "int8"},
    "qlora fp8": {"method": "qlora", "base": "fp8"},
    "qlora nf4, offload": {"method": "qlora", "offload": True},
    "full": {"method": "full"},
    "full, adamw8bit": {"method": "full", "optimizer": "adamw8bit"},
}
_TOKENS, _MIB = 24, 2**20


@dataclass(frozen=True)
class Row:
    """One training, in bytes."""

    method: str
    dtype: str
    checkpointing: bool
    batch: int
    clip: str
    predicted: int
    measured: int

    def __str__(self) -> str:
        how = (
            f"{self.method:20} {self.dtype:9} {'yes' if self.checkpointing else 'no':>5} {self.batch:>5} {self.clip:>9}"
        )
        ratio = self.predicted / self.measured
        return f"{how} {self.predicted / _MIB:>10.1f} {self.measured / _MIB:>10.1f} {ratio:>6.3f}"


def clips_of(folder: Path, model: OpenedModel, clip: str, num: int) -> ClipCache:
    """Write random clips of one shape (F, H, W of latents) with random captions."""
    frames, rows, columns = map(int, clip.split("x"))
    shape = (model.spec.latent_channels, frames, rows, columns)
    file, text = folder / f"{clip}.safetensors", folder / "text.safetensors"
    save_file({"latents": torch.randn(shape)}, file)
    save_file({"text": torch.randn(_TOKENS, model.spec.shapes["text_embedding.0"][1])}, text)
    names = [f"clip_{number}" for number in range(num)]
    clips = tuple(CachedClip(name, name, file, (text,), ("",), shape, 4 * frames - 3) for name in names)
    return ClipCache(folder, clips, text, "random")


def random_weights(path: Path, blocks: int) -> Path:
    """Write a transformer of the shapes of Wan 2.1 1.3B with a few blocks, in bfloat16."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        shapes = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, text_dim=4096, ffn_dim=8960, num_layers=blocks
        ).state_dict()
    save_file({name: 0.02 * torch.randn(tensor.shape, dtype=torch.bfloat16) for name, tensor in shapes.items()}, path)
    return path


def measured(config: TrainConfig, model: OpenedModel, cache: ClipCache) -> int:
    """Make one expert ready, let it take two steps, and return the peak."""
    turns = turns_of(config.learning, model.spec)
    (expert,) = turns.experts
    source = make_sources(config, model, cache, turns, None)[expert]
    gc.collect()
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with MemoryMeter() as meter:
        learner = make_learner(expert, config, model, source, turns, Alone())
        for _ in range(2):
            learner.step()
    model.release()
    return meter.peak if model.device.type != "cuda" else torch.cuda.max_memory_allocated() - before


def rows(arguments: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Predict and measure every combination."""
    source = "pocket" if arguments.model == "pocket" else random_weights(folder / "w.safetensors", arguments.blocks)
    for dtype, method in product(arguments.dtypes, arguments.methods):
        model = open_wan(source, dtype=getattr(torch, dtype), device=arguments.device, offload="experts")
        for is_checkpointing, batch, clip in product((False, True), arguments.batches, arguments.clips):
            keys = {"clips": "x", "name": "n", "steps": 4, "dtype": dtype, "batch_size": batch, **METHODS[method]}
            experts = {"experts": "low"} if len(model.experts) == len(EXPERTS) else {}
            config = make_config(keys | experts | {"checkpointing": is_checkpointing})
            cache = clips_of(folder, model, clip, batch)
            prediction = predicted(config, model, load_of_cache(config, model.spec, cache, None))
            on_device = model.device.type == "cuda"
            told = prediction.device if on_device else prediction.allocated - prediction.parts["clips"].system
            yield Row(method, dtype, is_checkpointing, batch, clip, told, measured(config, model, cache))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("pocket", "1.3b"), default="pocket")
    parser.add_argument("--blocks", type=int, default=3, help="of the 1.3b, which has 30")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", nargs="+", default=("5x8x8", "9x16x16"), metavar="FxHxW", help="of latents")
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 4))
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS))
    arguments = parser.parse_args()
    print(f"{arguments.model}, MiB of tensors on {arguments.device} at the peak")
    how = f"{'method':20} {'dtype':9} {'ckpt':>5} {'batch':>5} {'clip':>9}"
    print(f"{how} {'predicted':>10} {'measured':>10} {'ratio':>6}")
    done = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(arguments, Path(folder)):
            print(row, flush=True)
            done.append(row)
    ratios = sorted(row.predicted / row.measured for row in done)
    print(f"{len(done)} trainings, predicted / measured from {ratios[0]:.3f} to {ratios[-1]:.3f}")
    print(json.dumps([vars(row) for row in done]))


if __name__ == "__main__":
    main()
