"""What reading a LoRA file costs, against `safetensors.torch.load_file` on the same file in the same run.

    python benchmarks/lora_read.py                  makes a 600 MB file of Wan 14B in a temporary folder
    python benchmarks/lora_read.py style.safetensors

Prints a table and, last, one line of JSON. "opened" is what either call does by itself: both map the file and read no
values. "every value" adds one pass over all of them, which for `read_lora` is its check for NaN and infinity. The
contenders take turns within each round; each figure is the median of the rounds, in milliseconds. `inspect_lora` is
measured in a process of its own: its seconds after the import, and how much its peak memory exceeds the import's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lora_core.files.read import read_lora

NUM_BLOCKS, RANK = 40, 64
SHAPES = {f"{attention}.{part}": (5120, 5120) for attention in ("self_attn", "cross_attn") for part in "qkvo"} | {
    "ffn.0": (13824, 5120),
    "ffn.2": (5120, 13824),
}
#: The wanted figures.
MAX_RATIO, MAX_INSPECT_SECONDS, MAX_INSPECT_MB = 1.2, 0.3, 50

INSPECT = """
import resource, sys, time
import torch
from lora_core.files.report import inspect_lora
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
inspect_lora(sys.argv[1])
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def make_file(path: Path) -> Path:
    """Write a rank-64 LoRA of every linear layer of Wan 14B in bfloat16, alphas as 64-bit integers."""
    tensors = {}
    for block in range(NUM_BLOCKS):
        for module, (outputs, inputs) in SHAPES.items():
            name = f"diffusion_model.blocks.{block}.{module}"
            tensors[f"{name}.lora_down.weight"] = torch.randn(RANK, inputs).bfloat16()
            tensors[f"{name}.lora_up.weight"] = torch.randn(outputs, RANK).bfloat16()
            tensors[f"{name}.alpha"] = torch.tensor(8)
    save_file(tensors, path)
    return path


def contenders(path: Path) -> Mapping[str, Callable[[], object]]:
    return {
        "load_file, opened": lambda: load_file(path),
        "read_lora, opened": lambda: read_lora(path),
        "load_file, every value": lambda: [
            tensor.sum() for tensor in load_file(path).values() if tensor.is_floating_point()
        ],
        "read_lora, every value": lambda: list(read_lora(path).deltas.values()),
    }


def measure(path: Path, num_rounds: int) -> dict[str, float]:
    """Return contender -> median milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders(path)}
    for _ in range(num_rounds + 1):
        for name, work in contenders(path).items():
            start = time.perf_counter()
            work()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(found[1:]) for name, found in times.items()}  # the first fills the page cache


def inspect(path: Path) -> tuple[float, float]:
    """Return (seconds, megabytes above the import) of `inspect_lora`."""
    command = [sys.executable, "-c", INSPECT, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, megabytes = map(float, output.split())
    return seconds, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", help="a LoRA file (default: one made for this)")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.path or make_file(Path(folder) / "lora.safetensors")
        times = measure(path, arguments.rounds)
        seconds, megabytes = inspect(path)
        size = path.stat().st_size
    ratios = {how: times[f"read_lora, {how}"] / times[f"load_file, {how}"] for how in ("opened", "every value")}
    print(f"{size / 1e6:,.0f} MB, torch on {torch.get_num_threads()} threads, median of {arguments.rounds}")
    for how, ratio in ratios.items():
        load, read = times[f"load_file, {how}"], times[f"read_lora, {how}"]
        print(f"{how:12}  load_file {load:8.1f} ms   read_lora {read:8.1f} ms   ratio {ratio:.2f} (<= {MAX_RATIO})")
    print(f"inspect_lora  {seconds:.3f} s (<= {MAX_INSPECT_SECONDS})   {megabytes:.1f} MB (<= {MAX_INSPECT_MB})")
    print(json.dumps({"bytes": size, "ms": times, "ratios": ratios, "inspect_s": seconds, "inspect_mb": megabytes}))


if __name__ == "__main__":
    main()
