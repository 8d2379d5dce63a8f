"""Radial attention by each executor against dense attention, at growing lengths, in one run.

    python benchmarks/radial.py                                              a few minutes on a CPU
    python benchmarks/radial.py --quick                                      two lengths, to see that it runs
    python benchmarks/radial.py --paper --device cuda --dtype bfloat16       the paper's settings

Prints a table and, last, one line of JSON. A figure is dense seconds by radial seconds, above 1 where radial attention
is faster: the median over rounds in which all take turns, so that a slow minute of the machine falls on all alike.
`ideal` is what counting multiplications would give, padding included; flex's compilation stands apart in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lora_core.attention.block_map import BlockMap, radial_map
from lora_core.attention.executors import attend
from lora_core.attention.geometry import RadialGeometry
from lora_core.attention.masked import MAX_TOKENS
from lora_core.errors import LoraCoreError

#: (heads, width of a head), and the clips: small ones for a CPU, frames of 300 tokens padded to 384.
HEADS, WIDTH = 4, 64
CLIPS = (*(RadialGeometry(frames, 256) for frames in (12, 24, 48)), RadialGeometry(16, 300))
QUICK_CLIPS = CLIPS[:2]
#: Wan 14B: 40 heads of 128; 69, 161 and 321 frames at 768x1280, and its default 81 at 480x832.
PAPER_HEADS, PAPER_WIDTH = 40, 128
PAPER_CLIPS = (*(RadialGeometry(frames, 3840) for frames in (18, 41, 81)), RadialGeometry(21, 1560))
HEADER = "latent frames  tokens  density  ideal  map s  dense s |  flex  gathered  masked | backward: flex  gathered"


@dataclass(frozen=True)
class Row:
    """One clip; ratios are dense by radial time, None where an executor does not run here."""

    num_frames: int
    tokens_per_frame: int
    density: float
    ideal: float
    map_seconds: float
    compile_seconds: float | None
    dense_seconds: float
    forward: Mapping[str, float | None]
    backward: Mapping[str, float | None]


def main() -> None:
    """Run what the arguments ask for."""
    options = parse()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device_name(options)}, {options.dtype}")
    print(HEADER)
    rows = []
    for geometry in PAPER_CLIPS if options.paper else QUICK_CLIPS if options.quick else CLIPS:
        rows.append(measure(geometry, options))
        print(line(rows[-1]), flush=True)
    print(json.dumps({"rows": [asdict(row) for row in rows], "device": device_name(options), "dtype": options.dtype}))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two lengths, 2 rounds")
    parser.add_argument("--paper", action="store_true", help="the sizes of Wan 14B")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    options = parser.parse_args()
    options.rounds = min(options.rounds, 2) if options.quick else options.rounds
    return options


def device_name(options: argparse.Namespace) -> str:
    """Return what a figure is of."""
    return torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device


def measure(geometry: RadialGeometry, options: argparse.Namespace) -> Row:
    """Time one clip, forward and backward."""
    radial_map.cache_clear()
    started = time.perf_counter()
    block_map = radial_map(geometry)
    map_seconds = time.perf_counter() - started
    heads, width = (PAPER_HEADS, PAPER_WIDTH) if options.paper else (HEADS, WIDTH)
    place = {"device": options.device, "dtype": getattr(torch, options.dtype)}
    qkv = [torch.randn(1, heads, geometry.num_tokens, width, **place) for _ in range(3)]
    contenders = runs_of(block_map, qkv)
    compile_seconds = first_seconds(contenders["flex"], options)
    forward = race(contenders, options)
    learning = [x.requires_grad_() for x in qkv]
    backward = race(
        {name: with_backward(run, learning) for name, run in contenders.items() if name != "masked"}, options
    )
    return Row(
        geometry.num_frames,
        geometry.tokens_per_frame,
        block_map.density,
        1 / block_map.cost,
        map_seconds,
        compile_seconds,
        statistics.median(forward["dense"]),
        {name: ratio(forward, name) for name in ("flex", "gathered", "masked")},
        {name: ratio(backward, name) for name in ("flex", "gathered")},
    )


def runs_of(block_map: BlockMap, qkv: list[Tensor]) -> dict[str, Callable[[], Tensor]]:
    """Return what takes turns; a mask of all pairs only where it is small."""
    runs = {name: lambda name=name: attend(*qkv, block_map, executor=name) for name in ("flex", "gathered")}
    if block_map.geometry.num_padded <= MAX_TOKENS:
        runs["masked"] = lambda: attend(*qkv, block_map, executor="masked")
    return {"dense": lambda: scaled_dot_product_attention(*qkv), **runs}


def with_backward(run: Callable[[], Tensor], learning: list[Tensor]) -> Callable[[], object]:
    """Return a run with its backward pass."""
    return lambda: torch.autograd.grad(run().float().square().mean(), learning)


def race(runs: Mapping[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each run in each round; a run that is refused here is left out."""
    able = {name: run for name, run in runs.items() if first_seconds(run, options) is not None}
    rounds: dict[str, list[float]] = {name: [] for name in able}
    for _ in range(options.rounds):
        for name, run in able.items():
            rounds[name].append(timed(run, options))
    return rounds


def first_seconds(run: Callable[[], object], options: argparse.Namespace) -> float | None:
    """Return the seconds of a first run, or None where the executor says that it cannot work here."""
    try:
        return timed(run, options)
    except LoraCoreError:
        return None


def timed(run: Callable[[], object], options: argparse.Namespace) -> float:
    """Return the seconds of one run."""
    synchronise(options)
    started = time.perf_counter()
    run()
    synchronise(options)
    return time.perf_counter() - started


def synchronise(options: argparse.Namespace) -> None:
    """Wait for the device, where there is one to wait for."""
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()


def ratio(seconds: Mapping[str, list[float]], name: str) -> float | None:
    """Return the median over the rounds of dense time by this one's."""
    if name not in seconds:
        return None
    return statistics.median(dense / own for dense, own in zip(seconds["dense"], seconds[name], strict=True))


def line(row: Row) -> str:
    """Return a row as the table has it."""
    ratios = [*row.forward.values(), *row.backward.values()]
    flex, gathered, masked, flex_back, gathered_back = ("-" if value is None else f"{value:.2f}" for value in ratios)
    shape = f"{row.num_frames:>4} x {row.tokens_per_frame:<4}   {row.num_frames * row.tokens_per_frame:>7}"
    facts = f"{row.density:>7.3f}  {row.ideal:>5.2f}  {row.map_seconds:>5.3f}  {row.dense_seconds:>7.3f}"
    return f"{shape}  {facts} | {flex:>5}  {gathered:>8}  {masked:>6} | {flex_back:>14}  {gathered_back:>8}"


if __name__ == "__main__":
    main()
