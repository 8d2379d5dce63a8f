"""How long a merge of one 14B expert's LoRAs takes: 400 layers of true shapes, files of random bfloat16 weights.

    python benchmarks/merging.py                  three files of rank 32, about a minute each method
    python benchmarks/merging.py --blocks 4       a tenth of it, to see that it runs

Prints a table and, last, one line of JSON. Wall and CPU time are both of one process with as many threads as torch
takes; where other work shares the cores, the CPU time is what tells. Reading the files counts, and so does the writing
of the merged one, which is read back and compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import torch

from lora_core import LoraStack, LoraWeights, MergeRecipe, load_stack, merge_loras, wan_spec, write_lora
from lora_core.deltas import Lora

#: A block's linear layers, (outputs, inputs).
WIDTH, FFN = 5120, 13_824
LAYERS = {f"{attn}.{part}": (WIDTH, WIDTH) for attn in ("self_attn", "cross_attn") for part in "qkvo"} | {
    "ffn.0": (FFN, WIDTH),
    "ffn.2": (WIDTH, FFN),
}
RECIPES = (
    MergeRecipe(),
    MergeRecipe(rank=32),
    MergeRecipe(energy=0.9),
    MergeRecipe(num_bytes=300_000_000),
    MergeRecipe(method="ties", rank=32),
    MergeRecipe(method="dare", rank=32),
    MergeRecipe(method="knots", rank=32),
)
#: The wanted figure (docs/merging.md), for one thread of this or any such CPU.
MAX_SECONDS = 60.0


def main() -> None:
    """Make the files, merge them by every method, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--loras", type=int, default=3)
    parser.add_argument("--rank", type=int, default=32)
    options = parser.parse_args()
    spec, rows = wan_spec("wan2.2-t2v-a14b"), []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.blocks} blocks")
    with tempfile.TemporaryDirectory() as folder:
        stack = LoraStack()
        for number in range(options.loras):
            file = Path(folder, f"lora_{number}.safetensors")
            write_lora(random_lora(number, options), file)
            stack = stack.add(file, 0.7 + 0.2 * number, "high_noise")
        loaded = load_stack(stack, spec)
        print("method                         wall s    CPU s  error     file MB")
        for recipe in RECIPES:
            began, worked = time.perf_counter(), time.process_time()
            merged = merge_loras(loaded, recipe=recipe)
            file = merged.write(Path(folder, "merged.safetensors"))[0]
            row = {
                "recipe": recipe.to_dict(),
                "wall": round(time.perf_counter() - began, 1),
                "cpu": round(time.process_time() - worked, 1),
                "error": merged.files["high_noise"].error,
                "megabytes": round(file.stat().st_size / 1e6),
            }
            rows.append(row)
            name = " ".join(str(value) for value in recipe.to_dict().values())
            print(f"{name:28} {row['wall']:8} {row['cpu']:8}  {row['error']:.2e}  {row['megabytes']:6}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB, pages of mapped files counted")
    print(json.dumps({"rows": rows, "peak_gib": round(peak, 1), "threads": torch.get_num_threads()}))


def random_lora(seed: int, options: argparse.Namespace) -> LoraWeights:
    """Return a LoRA of random bfloat16 factors, with singular values that fall as those of trained ones do."""
    generator = torch.Generator().manual_seed(seed)
    falling = (1 + torch.arange(options.rank)) ** -0.5
    deltas = {}
    for block in range(options.blocks):
        for path, (num_outputs, num_inputs) in LAYERS.items():
            up = torch.randn(num_outputs, options.rank, generator=generator) * falling
            down = torch.randn(options.rank, num_inputs, generator=generator)
            deltas[f"blocks.{block}.{path}"] = Lora(down.bfloat16(), (0.01 * up).bfloat16())
    return LoraWeights(None, f"lora_{seed}", deltas)


if __name__ == "__main__":
    main()
