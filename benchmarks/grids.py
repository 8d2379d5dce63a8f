"""What a grid of 3x3 low-noise cells costs against nine runs of their own, in one process.

    python benchmarks/grids.py [--width 2048] [--blocks 8] [--frames 5] [--size 64] [--threads 1]

Twice: on the pocket model, whose decoding takes longer than its networks, and on a pair of random experts of Wan's
architecture that are wide enough for the networks to take most of the time, as those of 14B do. Both ways write the
same clips; every cell's latents are compared with those of its own run. Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lora_core import (
    GenerationRequest,
    Grid,
    Lora,
    LoraStack,
    LoraWeights,
    WanModel,
    generate,
    make_grid,
    open_wan,
    write_lora,
)
from lora_core.experts import EXPERTS
from lora_core.families.wan.pocket import pocket_paths
from lora_core.pocket.experts import HEAD_WIDTH, Size, build_expert
from lora_core.pocket.export import write_expert

PROMPT = "a zibbo moves right on a plain background"
COLUMNS, ROWS = "strength style low_noise = 0.4 | 0.8 | 1.2", "schedule style low_noise = none | fade_out | fade_in"
NUM_STEPS = 6


@dataclass(frozen=True)
class Took:
    """What something took, in seconds."""

    wall: float
    processor: float


def timed(work: Callable[[], Any]) -> tuple[Any, Took]:
    wall, processor = time.perf_counter(), time.process_time()
    made = work()
    return made, Took(time.perf_counter() - wall, time.process_time() - processor)


def random_pair(folder: Path, width: int, num_blocks: int) -> tuple[WanModel, LoraStack]:
    """Write a random pair and a random LoRA for both of its experts; open them with the pocket's other pieces."""
    paths = pocket_paths()
    for place, name in enumerate(EXPERTS):
        expert = build_expert(Size(width // HEAD_WIDTH, num_blocks, 4 * width), seed=place)
        torch.nn.init.normal_(expert.proj_out.weight, std=0.02)
        write_expert(expert, folder / f"pair_{name}.safetensors")
        targets = [f"blocks.{i}.self_attn.{part}" for i in range(num_blocks) for part in "qkvo"]
        deltas = {target: Lora(torch.randn(16, width) * 0.05, torch.randn(width, 16) * 0.05) for target in targets}
        write_lora(LoraWeights(None, "style", deltas, expert=name), folder / f"style_{name}.safetensors")
    pieces = {"text_encoder": paths.text_encoder, "tokenizer": paths.tokenizer, "vae": paths.vae}
    model = open_wan(folder / "pair_high_noise.safetensors", **pieces)
    return model, LoraStack().add(folder / "style_high_noise.safetensors", name="style")


def compared(model: WanModel, stack: LoraStack, request: GenerationRequest, folder: Path) -> dict[str, Any]:
    """Make nine runs, then the grid; return what each took."""
    grid = Grid(request, stack, COLUMNS, ROWS)
    generate(model, request, stack)  # whatever is opened at the first use is open for both
    made, grid_took = timed(lambda: make_grid(model, grid, folder / "grid"))
    records = [json.loads((made.path / cell["record"]).read_text()) for cell in made.cells]
    stacks = [LoraStack.from_json(record["loras"]) for record in records]

    def alone() -> list[Any]:
        videos = []
        for place, own in enumerate(stacks):
            video = generate(model, request, own)
            video.save(folder / f"{place}.mp4", scale=max(1, 256 // video.frames.shape[1]))
            videos.append(video)
        return videos

    videos, alone_took = timed(alone)
    same = [v.record["latents_sha256"] == r["latents_sha256"] for v, r in zip(videos, records, strict=True)]
    sampling = [sum(row["timings"]["sampling"] for row in rows) for rows in (records, [v.record for v in videos])]
    return {
        "equal_cells": sum(same),
        "steps": [sum(cell["steps_run"] for cell in made.cells), 9 * NUM_STEPS],
        "sampling_seconds": [round(seconds, 2) for seconds in sampling],
        "wall_seconds": [round(took.wall, 2) for took in (grid_took, alone_took)],
        "processor_seconds": [round(took.processor, 2) for took in (grid_took, alone_took)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 2048), ("blocks", 8), ("frames", 5), ("size", 64), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    request = GenerationRequest(PROMPT, num_frames=args.frames, seed=3, num_steps=NUM_STEPS)
    large = GenerationRequest(
        PROMPT, num_frames=args.frames, height=args.size, width=args.size, seed=3, num_steps=NUM_STEPS
    )
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pocket = LoraStack().add("speed_6steps").add("zibbo_character", name="style")
        found["pocket"] = compared(open_wan("pocket"), pocket, request, folder / "pocket")
        (folder / "files").mkdir()
        model, stack = random_pair(folder / "files", args.width, args.blocks)
        found[f"{args.width} wide, {args.blocks} blocks"] = compared(model, stack, large, folder / "pair")
    print(f"torch {torch.__version__}, {args.threads} thread(s), {args.frames} frames; six steps, three of each expert")
    print(f"{'model':<24}{'what':<20}{'grid':>9}{'nine runs':>11}{'share':>8}")
    for name, row in found.items():
        for what in ("steps", "sampling_seconds", "wall_seconds", "processor_seconds"):
            grid, alone = row[what]
            print(f"{name:<24}{what:<20}{grid:>9}{alone:>11}{grid / alone:>8.1%}")
        print(f"{name:<24}{row['equal_cells']} of 9 cells are bit for bit their own runs")
    print(json.dumps({"benchmark": "grids", "torch": torch.__version__, "threads": args.threads, "results": found}))


if __name__ == "__main__":
    main()
