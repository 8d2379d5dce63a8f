"""What LoRAs in a part of the clip do and cost, on the pocket and on blocks of Wan's sizes.

    python benchmarks/regions.py                 all parts; some twenty minutes on one core
    python benchmarks/regions.py --only cost     one of: exact, places, times, cost

`exact`: a mask of ones against none, one of zeros against no LoRA, one LoRA under m and 1 - m against itself, for text
and picture to video. `places`: zibbo on the left and neon on the right, against each on the whole frame, and how much
the other side drifts from the clip without LoRAs; beside it the way of blending whole predictions by the mask, with one
more pass for each LoRA. `times`: the frame at which a LoRA comes in, against the one that was asked for, and the seam.
`cost`: one block of Wan under LoRAs of rank 32, with masks and without, in turns within each round.

Prints tables and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lora_core import GenerationRequest, LoraStack, RunSettings, generate, open_wan
from lora_core.apply.attachment import Attachment, attach
from lora_core.deltas import Delta, Lora
from lora_core.families.registry import spec_of_module
from lora_core.families.wan.pocket import pocket_lora
from lora_core.pocket import measure, world
from lora_core.pocket.samples import Sampler
from lora_core.pocket.scenes import held_out_scenes
from lora_core.regions.clip_mask import ClipSize, clip_mask
from lora_core.sampling import sample as sampling
from lora_core.stack.region import Region

SETTINGS = RunSettings(num_steps=6)
HALF = world.SIZE_PX // 2
LEFT, RIGHT = slice(0, HALF), slice(HALF, None)
#: (width, inside of the feed-forward, heads, tokens as frames, rows, columns): Wan 1.3B's and 14B's blocks.
BLOCKS = ((1536, 8960, 12, (4, 32, 32)), (5120, 13824, 40, (4, 16, 32)))
RANK = 32


def stack_of(**rows: tuple[str | None, str | None]) -> LoraStack:
    """Return the speed LoRA and the named ones of the pocket, each with its region and its time."""
    stack = LoraStack().add(pocket_lora("speed_6steps"), name="speed")
    for name, (region, over_time) in rows.items():
        stack = stack.add(pocket_lora(name), name=name, region=region, over_time=over_time)
    return stack


# ---------------------------------------------------------------------------------------------- exact


def exact() -> dict[str, object]:
    """Return, of each model, what the masks change that should change nothing, relative to what the LoRA does."""
    found: dict[str, object] = {}
    for name in ("pocket", "pocket-i2v"):
        model = open_wan(name)
        image = None if name == "pocket" else np.full((64, 64, 3), 128, np.uint8)
        request = GenerationRequest("a red circle moves up on a plain background", image=image, num_steps=6, seed=3)

        def latents(stack: LoraStack, model: Any = model, request: GenerationRequest = request) -> Tensor:
            return generate(model, request, stack).latents

        plain, none = latents(stack_of(neon_style=(None, None))), latents(stack_of())
        sides = stack_of().add(pocket_lora("neon_style"), name="left", region="left; soft=0")
        sides = sides.add(pocket_lora("neon_style"), name="right", region="not left; soft=0")
        change = (plain - none).norm()
        found[name] = {
            "ones": float((latents(stack_of(neon_style=("all", "from 0s"))) - plain).abs().max()),
            "zeros": float((latents(stack_of(neon_style=("not all", None))) - none).abs().max()),
            "m and 1 - m": float((latents(sides) - plain).norm() / change),
        }
    return found


# ---------------------------------------------------------------------------------------------- places


def places(num_scenes: int) -> dict[str, object]:
    """Return how much of a LoRA is inside its region, and how much of it the other side shows."""
    sampler = Sampler(open_wan("pocket"))
    scenes = held_out_scenes(num_scenes)
    zibbos = held_out_scenes(num_scenes, shape=world.CHARACTER)

    def clips(scenes: Sequence[world.Scene], **rows: tuple[str | None, str | None]) -> np.ndarray:
        return sampler.clips(scenes, SETTINGS, stack_of(**rows))

    plain, whole = clips(scenes), clips(scenes, neon_style=(None, None))
    half = clips(scenes, neon_style=("right", None))
    with blended_predictions("neon_style", "right", sampler.model.spec):
        blended = clips(scenes, neon_style=("right", None))
    plain_z, whole_z = clips(zibbos), clips(zibbos, zibbo_character=(None, None))
    half_z = clips(zibbos, zibbo_character=("left", None))
    wide_z = clips(zibbos, zibbo_character=("0,0,0.75,1", None))
    both = clips(zibbos, zibbo_character=("left", None), neon_style=("right", None))
    return {
        "neon right of itself everywhere": neon(half, RIGHT) / neon(whole, RIGHT),
        "neon right beside zibbo": neon(both, RIGHT) / neon(whole, RIGHT),
        "zibbo left of itself everywhere": zibbo_left(half_z, whole_z),
        "zibbo left beside neon": zibbo_left(both, whole_z),
        "zibbo left, region of three quarters": zibbo_left(wide_z, whole_z),
        "drift of the left, neon right": drift(half, plain, whole, LEFT),
        "the same of blended predictions": drift(blended, plain, whole, LEFT),
        "drift of the right, zibbo left": drift(half_z, plain_z, whole_z, RIGHT),
    }


def neon(clips: np.ndarray, side: slice) -> float:
    return float(np.mean([measure.neon_score(clip[:, :, side]) for clip in clips]))


def zibbo_left(clips: np.ndarray, whole: np.ndarray) -> float:
    """Return the share of the frames with a zibbo all in the left half that have one here too."""
    there, here = 0, 0
    for clip, reference in zip(clips, whole, strict=True):
        for frame, other in zip(clip, reference, strict=True):
            mask = measure.object_mask(other[None])
            if mask.any() and not mask[..., RIGHT].any() and measure.zibbo_score(other[None], mask):
                left = frame.copy()
                left[:, RIGHT] = np.median(frame[:, :4], axis=(0, 1))
                there += 1
                here += measure.zibbo_score(left[None], measure.object_mask(left[None])) > 0
    return here / there if there else float("nan")


def drift(clips: np.ndarray, plain: np.ndarray, whole: np.ndarray, side: slice) -> float:
    """Return how far a side is from the clip without the LoRA, of how far it is with the LoRA everywhere."""
    away, most = (np.abs(one - plain)[..., side, :].mean() for one in (clips, whole))
    return float(away / most)


@contextmanager
def blended_predictions(name: str, region: str, spec: Any) -> Iterator[None]:
    """Let `sample` predict twice, with the LoRA everywhere and without it, and mix the two by the mask."""
    clip = ClipSize(world.NUM_FRAMES, world.SIZE_PX, world.SIZE_PX, spec.default_clip.fps)
    _, rows, columns = spec.patch_size
    mask = clip_mask(Region.parse(region), None, clip, spec).repeat_interleave(rows, 1).repeat_interleave(columns, 2)
    usual_attach, usual_velocity = sampling.attach, sampling.guided_velocity
    at_work: list[Attachment] = []

    def attach_everywhere(network: nn.Module, loras: Any, spec: Any, masks: object = None) -> Attachment:
        at_work[:] = [usual_attach(network, loras, spec)]
        return at_work[0]

    def velocity(*args: Any) -> Tensor:
        attachment = at_work[0]
        strengths, changed = attachment.strengths, usual_velocity(*args)
        attachment.set_strengths([0 if n == name else s for n, s in zip(attachment.names, strengths, strict=True)])
        without = usual_velocity(*args)
        attachment.set_strengths(strengths)
        return without + mask * (changed - without)

    sampling.attach, sampling.guided_velocity = attach_everywhere, velocity
    try:
        yield
    finally:
        sampling.attach, sampling.guided_velocity = usual_attach, usual_velocity


# ---------------------------------------------------------------------------------------------- times


def times(num_scenes: int) -> dict[str, object]:
    """Return when LoRAs come in that were asked for from frame 9 on, and how large the step there is."""
    sampler = Sampler(open_wan("pocket"))
    asked, scenes = 9, held_out_scenes(num_scenes)
    zibbos = held_out_scenes(num_scenes, shape=world.CHARACTER)
    found: dict[str, object] = {}
    for text in (f"from frame {asked}", f"from frame {asked}; hard", "4f=0,14f=1"):
        neons = sampler.clips(scenes, SETTINGS, stack_of(neon_style=(None, text)))
        ended = sampler.clips(zibbos, SETTINGS, stack_of(zibbo_character=(None, text.replace("from", "until"))))
        dark = np.mean([(clip.max(axis=-1) < -0.5).mean(axis=(1, 2)) for clip in neons], axis=0)
        found[text] = {
            "neon comes at frame": crossing(dark),
            "seam of neon / median": seam(neons, asked),
            "seam of zibbo / median": seam(ended, asked),
        }
    plain = sampler.clips(zibbos, SETTINGS, stack_of(zibbo_character=(None, None)))
    found["no time at all"] = {"seam of zibbo / median": seam(plain, asked)}
    return found


def crossing(score: np.ndarray) -> float:
    """Return the frame, between two of them, at which a score has risen half way from its first to its last."""
    middle = (score[:2].mean() + score[-2:].mean()) / 2
    after = int(np.argmax(score > middle))
    return float(after - 1 + (middle - score[after - 1]) / (score[after] - score[after - 1])) if after else 0.0


def seam(clips: np.ndarray, asked: int) -> float:
    """Return the largest difference of neighbouring frames within 4 of the seam, by the clip's median; of all clips."""
    steps = np.abs(np.diff(clips, axis=1)).mean(axis=(2, 3, 4))
    return float(np.median(steps[:, asked - 5 : asked + 4].max(axis=1) / np.median(steps, axis=1)))


# ---------------------------------------------------------------------------------------------- cost


@dataclass(frozen=True)
class Entry:
    """One LoRA as routing hands it over."""

    name: str
    deltas: Mapping[str, Delta]
    strength: float = 0.7
    factors: Mapping[str, float] = field(default_factory=dict)


def cost(rounds: int) -> dict[str, object]:
    """Return what LoRAs cost a block of Wan, as shares of the bare block's time."""
    return {
        f"{width} wide, {np.prod(grid)} tokens": cost_of(width, inside, heads, grid, rounds)
        for width, inside, heads, grid in BLOCKS
    }


def cost_of(width: int, inside: int, heads: int, grid: tuple[int, int, int], rounds: int) -> dict[str, float]:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    network = WanTransformer3DModel(
        num_attention_heads=heads, attention_head_dim=width // heads, ffn_dim=inside, num_layers=1, text_dim=64
    ).requires_grad_(False)
    spec, num_tokens = spec_of_module(network), int(np.prod(grid))
    x, text, time_6D = torch.randn(1, num_tokens, width), torch.randn(1, 512, width), torch.randn(1, 6, width)
    rotary = network.rope(torch.empty(1, 16, grid[0], 2 * grid[1], 2 * grid[2]))
    entries = [Entry(name, lora_on(spec.shapes)) for name in ("one", "two")]
    mask = torch.zeros(grid)
    mask[..., : grid[2] // 2] = 1
    soft = mask.clone()
    soft[..., grid[2] // 2] = 0.5
    sides = {"one": mask, "two": 1 - mask}
    ways: dict[str, Any] = {
        "bare": nullcontext,
        "one LoRA": lambda: attach(network, entries[:1], spec),
        "one masked": lambda: attach(network, entries[:1], spec, masks={"one": soft}),
        "two masked, hard": lambda: attach(network, entries, spec, masks=sides),
        "two masked, soft": lambda: attach(network, entries, spec, masks={"one": soft, "two": 1 - soft}),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for way, context in ways.items():
                with context():
                    started = time.perf_counter()
                    network.blocks[0](x, text, time_6D, rotary)
                    if number:  # the first round warms up
                        seconds[way].append(time.perf_counter() - started)
    shares = {
        way: statistics.median(a / b for a, b in zip(seconds[way], seconds["bare"], strict=True)) - 1
        for way in ways
        if way != "bare"
    }
    return {"bare ms": 1000 * statistics.median(seconds["bare"]), **shares}


def lora_on(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Delta]:
    """Return a LoRA on every matrix of the block."""
    return {
        target: Lora(torch.randn(RANK, shape[1]) / shape[1] ** 0.5, 0.01 * torch.randn(shape[0], RANK))
        for target, shape in shapes.items()
        if target.startswith("blocks.") and len(shape) == 2
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("exact", "places", "times", "cost"))
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    parts = {
        "exact": exact,
        "places": lambda: places(options.scenes),
        "times": lambda: times(options.scenes),
        "cost": lambda: cost(options.rounds),
    }
    found = {}
    for name, part in parts.items():
        if options.only in (None, name):
            found[name] = part()
            print(f"{name}:\n{told(found[name])}", flush=True)
    print(json.dumps(found))


def told(rows: Mapping[str, Any], indent: str = "  ") -> str:
    lines = []
    for name, value in rows.items():
        text = f"\n{told(value, indent + '  ')}" if isinstance(value, Mapping) else f" {value:.3g}"
        lines.append(f"{indent}{name}:{text}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
