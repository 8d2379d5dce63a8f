"""Do the proposed strengths help where LoRAs overload the pocket model, and do no harm where they do not?

    python benchmarks/balance.py [--clips 12] [--out FILE.json]

Each stack is sampled with the strengths it was given, with those that `balance_stack` proposes, and with the strengths
divided by their sum, which is how others normalise a stack. The speed LoRA stays at 1 in all of them. A LoRA's score is
read from the clips (`pocket/measure.py`), the same seeds in every cell, and told as a share of what the LoRA reaches
alone at strength 1. The stack's score is the mean of its LoRAs' shares, and the weakest one's share stands beside it;
differences are paired by clip, with a 95 % interval. Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from lora_core import GenerationRequest, LoraStack, balance_stack, generate, load_stack, open_wan
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.pocket import pocket_lora
from lora_core.pocket.measure import read_clip
from lora_core.stack.loaded import LoadedStack

LORAS = {"zibbo": "zibbo_character", "neon": "neon_style", "orbit": "orbit_motion"}
GROUNDS = ("plain", "striped", "gradient")
#: Stack -> the strengths it was given, and what is asked of it. The last three are no overload.
STACKS: Mapping[str, tuple[Mapping[str, float], str]] = {
    "three at 1": ({"zibbo": 1.0, "neon": 1.0, "orbit": 1.0}, "a zibbo orbits"),
    "character and style at 1": ({"zibbo": 1.0, "neon": 1.0}, "a zibbo moves right"),
    "style and motion at 1": ({"neon": 1.0, "orbit": 1.0}, "a blue circle orbits"),
    "three at 0.5": ({"zibbo": 0.5, "neon": 0.5, "orbit": 0.5}, "a zibbo orbits"),
    "character at 1, style at 0.6": ({"zibbo": 1.0, "neon": 0.6}, "a zibbo moves right"),
    "character alone": ({"zibbo": 1.0}, "a zibbo moves right"),
}
#: Student's t for a 95 % interval, from about 12 clips on.
_T = 2.2


def stack_of(strengths: Mapping[str, float]) -> LoraStack:
    """Return the speed LoRA at 1 and others as they are given."""
    stack = LoraStack().add(pocket_lora("speed_6steps"), name="speed")
    for name, strength in strengths.items():
        stack = stack.add(pocket_lora(LORAS[name]), strength, name=name)
    return stack


def proposed(model: WanModel, strengths: Mapping[str, float]) -> LoadedStack:
    """Return the stack with the strengths that are proposed for it."""
    balance = balance_stack(load_stack(stack_of(strengths), model.spec), model)
    speed = [row for row in balance.proposal.strengths if row.purpose == "speed"]
    assert all(row.after == row.before == 1 for row in speed)
    return balance.proposed


def by_sum(model: WanModel, strengths: Mapping[str, float]) -> LoadedStack:
    """Return the stack with strengths that sum up to 1."""
    total = sum(strengths.values())
    return load_stack(stack_of({name: value / total for name, value in strengths.items()}), model.spec)


def scores(model: WanModel, loaded: LoadedStack, prompt: str, num_clips: int) -> dict[str, list[float]]:
    """Return what each LoRA of a stack shows in each clip."""
    found: dict[str, list[float]] = {name: [] for name in LORAS}
    for seed in range(num_clips):
        words = f"{prompt} on a {GROUNDS[seed % len(GROUNDS)]} background"
        video = generate(model, GenerationRequest(words, num_steps=6, cfg=1.0, seed=100 + seed), loaded)
        read = read_clip(video.frames.astype(np.float32) / 127.5 - 1)
        for name in LORAS:
            found[name].append(float(getattr(read, name)))
    return found


def shares(found: Mapping[str, Sequence[float]], names: Sequence[str], alone: Mapping[str, float]) -> list[list[float]]:
    """Return, for each LoRA of a stack, its share clip by clip."""
    return [[score / alone[name] for score in found[name]] for name in names]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval."""
    return mean(values), _T * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    started, model = time.perf_counter(), open_wan("pocket")
    words = {"zibbo": "a zibbo moves right", "neon": "a blue circle moves right", "orbit": "a blue circle orbits"}
    alone = {
        name: mean(scores(model, load_stack(stack_of({name: 1.0}), model.spec), words[name], asked.clips)[name])
        for name in LORAS
    }
    print("alone at strength 1:", ", ".join(f"{name} {value:.2f}" for name, value in alone.items()), flush=True)
    rows = [row for stack in STACKS for row in compare(model, stack, alone, asked.clips)]
    result = {"clips": asked.clips, "alone": alone, "rows": rows, "seconds": round(time.perf_counter() - started)}
    line = json.dumps(result)
    if asked.out is not None:
        asked.out.write_text(line + "\n", encoding="utf-8")
    print(line)


def compare(model: WanModel, stack: str, alone: Mapping[str, float], num_clips: int) -> list[dict[str, object]]:
    """Sample one stack in every way, print a row for each, and return them."""
    strengths, prompt = STACKS[stack]
    names = list(strengths)
    given = load_stack(stack_of(strengths), model.spec)
    ways = {"given": given, "proposed": proposed(model, strengths), "by sum": by_sum(model, strengths)}
    rows: list[dict[str, object]] = []
    seen: dict[str, list[float]] = {}
    for way, loaded in ways.items():
        used = {name: (loaded.stack[name].strength, loaded.stack[name].low_noise_strength) for name in names}
        same = next((row for row in rows if row["strengths"] == used), None)
        found = shares(scores(model, loaded, prompt, num_clips), names, alone) if same is None else None
        if found is None:
            rows.append({**same, "way": way})  # type: ignore[dict-item]  # the same strengths give the same clips
            seen[way] = seen[str(same["way"])]  # type: ignore[index]  # found just above
        else:
            seen[way] = [mean(column) for column in zip(*found, strict=True)]
            each = {name: mean(values) for name, values in zip(names, found, strict=True)}
            rows.append({"stack": stack, "way": way, "strengths": used, "shares": each, "score": mean(seen[way])})
        gain, half = interval([new - old for new, old in zip(seen[way], seen["given"], strict=True)])
        rows[-1] |= {"weakest": min(rows[-1]["shares"].values()), "gain": gain, "half_interval": half}  # type: ignore[attr-defined]  # a dict
        print(text(rows[-1]), flush=True)
    return rows


def text(row: Mapping[str, object]) -> str:
    """Return a row of the table."""
    strengths, each = row["strengths"], row["shares"]
    assert isinstance(strengths, dict)
    assert isinstance(each, dict)
    told = ", ".join(
        f"{name} {high:g}{'' if low is None else f'/{low:g}'} shows {each[name]:.2f}"
        for name, (high, low) in strengths.items()
    )
    return (
        f"{row['stack']:<30} {row['way']:<9} score {row['score']:.2f} weakest {row['weakest']:.2f} "
        f"against given {row['gain']:+.2f} +- {row['half_interval']:.2f}   {told}"
    )


if __name__ == "__main__":
    main()
