"""A LoRA of a smaller pair steers the pocket model: how much of what a native LoRA does comes across, at what cost.

    python benchmarks/transfer.py --unrelated small_high_noise.safetensors --work FOLDER [--kind neon] [--out FILE.json]

For each seed a style (neon), a character (zibbo) or a motion (orbit) is learnt three times by the trainer, from the
same clips and with the keys of the embedded LoRA of its kind: on the pocket itself (native), on pocket-small, and on an
unrelated pair of the same shapes (`benchmarks/small_pair.py`), whose LoRA is then put on pocket-small (the control).
Recovery is R = (transferred - base) / (native - base), on the LoRA's own measure of generated clips and on the loss of
clips that no training has seen. "Usable" from R 0.5, "equal" from 0.9. What the base is measured by besides means
something for the style alone. Prints tables and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from small_pair import draw_clips, open_small
from torch import Tensor

from lora_core import (
    GenerationRequest,
    Guide,
    LoraStack,
    SteerSettings,
    generate,
    make_config,
    open_wan,
    prepare,
    train,
)
from lora_core.apply.attachment import attach
from lora_core.experts import EXPERTS, Expert
from lora_core.families.condition import Condition
from lora_core.families.registry import family_of
from lora_core.families.wan.model import WanModel
from lora_core.files.read import read_lora
from lora_core.plan.route import RoutedLora
from lora_core.pocket import world
from lora_core.pocket.measure import read_clip
from lora_core.pocket.recipes import CLIP_KEYS, recipe
from lora_core.training.assembly import boundary_of, levels_of
from lora_core.training.batches import Batch, BatchSource
from lora_core.training.settings.clips import ClipSettings
from lora_core.training.settings.noise import NoiseSettings

#: In the place of what the embedded LoRAs are trained with: fewer clips, nothing measured on the way.
KEYS = {**CLIP_KEYS, "batch_size": 8, "held_out": 0.0, "validate_every": 0}
#: Student's t for a 95 % interval, by the number of seeds.
_T = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}

#: What is learnt -> what its clips show. Its measure has its name; the style alone is left unsaid in captions.
KINDS: dict[str, dict[str, str | bool]] = {
    "neon": {"neon": True},
    "zibbo": {"shape": world.CHARACTER},
    "orbit": {"motion": "orbits"},
}
#: What is learnt -> the embedded LoRA that is trained in the same way.
LIKE = {"neon": "neon_style", "zibbo": "zibbo_character", "orbit": "orbit_motion"}

Velocity = Callable[[Tensor, float, Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """What one way of using the LoRA gives: its own measure, base measures (shares), held-out loss, seconds a clip."""

    own: float
    colour: float
    shape: float
    direction: float
    loss: float
    seconds: float


def learn(
    model: WanModel, name: str, clips: Path, folder: Path, *, kind: str, source: str | Path, steps: int, seed: int
) -> Path:
    """Train the LoRA pair of a model; return the high-noise file. What is there already stays."""
    out = folder / f"{name}_high_noise.safetensors"
    if not out.exists():
        keys = {**recipe(LIKE[kind]).keys, **KEYS, "steps": steps, "seed": seed}
        config = make_config({**keys, "clips": str(clips), "name": name, "model": str(source)})
        train(config, model, prepare(config.folder, model, config.clips).cache, folder)
    return out


def held_out(model: WanModel, folder: Path) -> dict[Expert, tuple[Batch, ...]]:
    """Return batches of unseen clips of the kind that is learnt, at four levels of each expert."""
    settings = ClipSettings(num_frames=world.NUM_FRAMES, resolution=world.SIZE_PX, held_out=0.95)
    cache, noise = prepare(folder, model, settings).cache, NoiseSettings(timesteps="uniform", shift=3.0)
    levels, boundary = levels_of(noise, model.spec), boundary_of(noise, model.spec)
    return {
        expert: BatchSource(cache, levels.of(expert, boundary), 1, 0, expert, 0.0, model.max_tokens).held_out(4)
        for expert in EXPERTS
    }


def velocities(model: WanModel, expert: Expert, lora: Path | None) -> Velocity:
    """Return a network's prediction with a LoRA, at (x, levels, text)."""
    network, spec = model.expert(expert), model.spec
    routed: list[RoutedLora] = []
    if lora is not None:
        own = lora if expert == "high_noise" else lora.with_name(lora.name.replace("high_noise", "low_noise"))
        weights = read_lora(own, spec=spec)
        routed = [RoutedLora("lora", 0, expert, 1.0, weights.deltas, {}, weights, expert)]

    def predict(x: Tensor, level: Tensor, text: Tensor) -> Tensor:
        with torch.no_grad(), attach(network, routed, spec):
            return family_of(spec).forward(network, spec, x, level, text, Condition(text))

    return predict


def loss_of(
    model: WanModel, batches: dict[Expert, tuple[Batch, ...]], native: Path | None, steer: _Steer | None
) -> float:
    """Return the held-out loss, the mean of both experts, as the run would predict."""
    losses = []
    for expert, own in batches.items():
        large = velocities(model, expert, native)
        pair = None if steer is None else [velocities(steer.model, expert, lora) for lora in (steer.lora, None)]
        for batch in own:
            t = batch.level.view(-1, 1, 1, 1, 1)
            x, text = (1 - t) * batch.latents + t * batch.noise, batch.condition.positive
            v = large(x, batch.level, text)
            if pair is not None and steer is not None:
                v = v + steer.strength * (pair[0](x, batch.level, text) - pair[1](x, batch.level, text))
            losses.append(float((v - (batch.noise - batch.latents)).square().mean()))
    return mean(losses)


@dataclass(frozen=True, eq=False)
class _Steer:
    """A guide: the small pair, the LoRA on it, lambda."""

    model: WanModel
    lora: Path
    strength: float = 1.0


def score(
    model: WanModel,
    kind: str,
    scenes: Sequence[world.Scene],
    batches: dict[Expert, tuple[Batch, ...]],
    *,
    native: Path | None = None,
    steer: _Steer | None = None,
    steps: int = 8,
) -> Score:
    """Generate a clip of every scene and measure it, and take the loss of unseen clips."""
    guide = None
    if steer is not None:
        guide = Guide(steer.model, LoraStack().add(steer.lora), SteerSettings(strength=steer.strength, above=None))
    stack = LoraStack() if native is None else LoraStack().add(native)
    readings, seconds = [], []
    for seed, scene in enumerate(scenes):
        request = GenerationRequest(world.caption(scene), num_steps=steps, shift=3.0, seed=seed)
        began = time.process_time()
        video = generate(model, request, stack, guide=guide)
        seconds.append(time.process_time() - began)
        readings.append((scene, read_clip(video.frames.astype(np.float32) / 127.5 - 1)))
    return Score(
        own=mean(getattr(found, kind) for _, found in readings),
        colour=mean(found.colour == scene.colour for scene, found in readings),
        shape=mean(found.shape == scene.shape for scene, found in readings),
        direction=mean(found.motion == scene.motion for scene, found in readings),
        loss=loss_of(model, batches, native, steer),
        seconds=mean(seconds),
    )


def recovery(values: Sequence[float]) -> dict[str, float | str]:
    """Return the mean of R over seeds with its 95 % interval, and what it is called."""
    middle = mean(values)
    half = _T.get(len(values), 2.0) * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    word = "no transfer" if middle - half <= 0 else "short of usable" if middle < 0.5 else "usable"
    return {"R": middle, "low": middle - half, "high": middle + half, "called": "equal" if middle >= 0.9 else word}


def run(options: argparse.Namespace) -> dict[str, object]:
    """Train, generate and measure for every seed."""
    work: Path = options.work
    pocket, small, unrelated = open_wan("pocket"), open_wan("pocket-small"), open_small(options.unrelated)
    sources = {"native": ("pocket", pocket), "small": ("pocket-small", small)}
    sources["unrelated"] = (options.unrelated, unrelated)
    rng = np.random.default_rng(99)
    words = KINDS[options.kind]
    shown = {key: value for key, value in words.items() if key != "neon"}  # the style alone is not in the prompt
    scenes = [world.random_scene(rng, **shown) for _ in range(options.num_clips)]
    batches = held_out(pocket, draw_clips(work / "held_out", 10, 1234, **words))
    base = score(pocket, options.kind, scenes, batches)
    print(f"base: {base}", flush=True)
    rows: list[dict[str, Score]] = []
    sweep: dict[float, list[float]] = {}
    for seed in range(options.seeds):
        clips = draw_clips(work / f"clips_{seed}", 24, 500 + seed, **words)
        loras = {
            name: learn(
                model,
                name,
                clips,
                work / f"{name}_{seed}",
                kind=options.kind,
                source=source,
                steps=options.steps,
                seed=seed,
            )
            for name, (source, model) in sources.items()
        }
        measured = partial(score, pocket, options.kind, scenes, batches)
        row = {
            "native": measured(native=loras["native"]),
            "steered": measured(steer=_Steer(small, loras["small"], options.strength)),
            "control": measured(steer=_Steer(small, loras["unrelated"], options.strength)),
        }
        rows.append(row)
        for strength in options.sweep:
            lost = loss_of(pocket, batches, None, _Steer(small, loras["small"], strength))
            sweep.setdefault(strength, []).append(lost)
        print("\n".join(f"seed {seed} {name}: {value}" for name, value in row.items()), flush=True)
    lambdas = {f"{strength:g}": mean(losses) for strength, losses in sweep.items()}
    return {**summary(base, rows, options), "loss by lambda": lambdas}


def summary(base: Score, rows: Sequence[dict[str, Score]], options: argparse.Namespace) -> dict[str, object]:
    """Return recovery, damage and cost, ready for JSON."""
    found: dict[str, object] = {"base": vars(base), "seeds": [{k: vars(v) for k, v in row.items()} for row in rows]}
    for name in ("steered", "control"):
        for measure in ("own", "loss"):
            gain = [getattr(row["native"], measure) - getattr(base, measure) for row in rows]
            got = [getattr(row[name], measure) - getattr(base, measure) for row in rows]
            found[f"{name} {measure}"] = recovery([g / n for g, n in zip(got, gain, strict=True)])
    for measure in ("colour", "shape", "direction"):
        found[f"fall of {measure}"] = {
            name: getattr(base, measure) - mean(getattr(row[name], measure) for row in rows)
            for name in ("native", "steered")
        }
    found["seconds"] = {"base": base.seconds, "steered": mean(row["steered"].seconds for row in rows)}
    found["options"] = {key: str(value) for key, value in vars(options).items()}
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unrelated", type=Path, required=True, help="another pair of the shapes of pocket-small")
    parser.add_argument("--work", type=Path, required=True, help="where clips and LoRAs are kept")
    parser.add_argument("--kind", choices=list(KINDS), default="neon")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of each LoRA's training")
    parser.add_argument("--num-clips", type=int, default=16, help="clips that are generated and measured")
    parser.add_argument("--strength", type=float, default=1.0, help="lambda")
    parser.add_argument("--sweep", type=float, nargs="*", default=[], help="further lambdas, by their loss alone")
    parser.add_argument("--out", type=Path, help="where to keep the results")
    options = parser.parse_args()
    found = run(options)
    for key, value in found.items():
        if key not in ("seeds", "options"):
            print(f"{key:>20}: {value}")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
