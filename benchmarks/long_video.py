"""Long video on the pocket model, way by way: what people use instead of a LoRA for the length, and the LoRA.

    python benchmarks/long_video.py OUT --lora FILE                       a LoRA for the length; its twin is found
    python benchmarks/long_video.py OUT --frames 17,33 --num-prompts 2    to see that it runs

Headless: the model alone and with the LoRA, dense and radial. In a real ComfyUI (found as
tests/comfyui/harness/finding.py says, started in a temporary folder): the model alone again, so that the others have a
peer in the same host; core's context windows of 17 frames, on both experts between our nodes; and core's ScaleROPE,
which moves latent frames closer together until a clip spans the positions of one of 17 frames. The same prompts and
seeds everywhere. Beside them the prompts' scenes as the pocket's world draws them: what a perfect clip measures. What
OUT has already is not made again. `make compare-lengths LORA=FILE` writes the report into docs/.
Prints the tables and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

PROJECT = Path(__file__).absolute().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "comfyui")]

from harness.client import Client, Workflow, connected  # noqa: E402  # the tests' own harness, found above
from harness.finding import find_host  # noqa: E402
from harness.overlay import with_requirements  # noqa: E402
from harness.server import started  # noqa: E402
from harness.workflows import DECODE, LATENT, LOADER, POSITIVE, SAMPLER, SAVE, STACK, pocket_workflow  # noqa: E402

from lora_core import LoraStack, open_wan, read_video, save_video  # noqa: E402
from lora_core.comparison.folder import read_json, write_json  # noqa: E402
from lora_core.lengths.asked import LengthsAsked  # noqa: E402
from lora_core.lengths.collect import collect  # noqa: E402
from lora_core.lengths.evaluate import evaluate_lengths, readings  # noqa: E402
from lora_core.lengths.folder import LengthsFolder  # noqa: E402
from lora_core.lengths.meaning import pocket_prompts  # noqa: E402
from lora_core.lengths.report import write_report  # noqa: E402
from lora_core.lengths.tables import kept_table, length_tables  # noqa: E402
from lora_core.pocket import world  # noqa: E402
from lora_core.pocket.sample_clips import words_of  # noqa: E402
from lora_core.training.environment import environment  # noqa: E402

WINDOW, OVERLAP = 17, 8
TITLE = "Long video on the pocket model, way by way"
#: The patch of both experts' MODELs for a number of frames: a node of core's, and its inputs.
Patch = Callable[[int], tuple[str, dict[str, Any]] | None]


def windows(num_frames: int) -> tuple[str, dict[str, Any]]:
    """Return core's context windows for Wan, as its node has them by default but for the length."""
    inputs = {"context_length": WINDOW, "context_overlap": OVERLAP, "context_schedule": "standard_uniform"}
    inputs |= {"context_stride": 1, "closed_loop": False, "fuse_method": "pyramid", "freenoise": True}
    return "WanContextWindowsManual", inputs | {"retain_first_frame": False, "split_conds_to_windows": False}


def scaled(num_frames: int) -> tuple[str, dict[str, Any]]:
    """Return core's change of the rotary frequencies, by which a clip spans the positions of one of 17 frames."""
    still = {f"{what}_{axis}": 1.0 if what == "scale" else 0.0 for what in ("scale", "shift") for axis in "xyt"}
    return "ScaleROPE", still | {"scale_t": (WINDOW - 1) / (num_frames - 1)}


#: Variant in ComfyUI -> what reports call it, and what is done to the experts.
IN_HOST: Mapping[str, tuple[str, Patch]] = {
    "host": ("without LoRA, dense, in ComfyUI", lambda num_frames: None),
    "windows": (f"context windows of {WINDOW} frames, in ComfyUI", windows),
    "rope": ("time positions scaled (ScaleROPE), in ComfyUI", scaled),
}


def workflow(prompt: str, seed: int, num_frames: int, asked: Mapping[str, Any], patch: Patch) -> Workflow:
    """Return the graph of one video, its frames saved as pictures."""
    high, low = asked["cfg"] if isinstance(asked["cfg"], list) else (asked["cfg"], asked["cfg"])
    run = {"steps": asked["steps"], "shift": asked["shift"], "cfg_high": high, "cfg_low": low}
    graph = pocket_workflow(seed=seed, **run)
    graph[POSITIVE]["inputs"]["text"] = prompt
    graph[LATENT]["inputs"]["length"] = num_frames
    graph["negative"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": [LOADER, 1]}}
    graph[SAMPLER]["inputs"]["negative"] = ["negative", 0]
    if (node := patch(num_frames)) is not None:
        kind, inputs = node
        graph["apart"] = {"class_type": "SplitWanModel", "inputs": {"model": [LOADER, 0]}}
        for place, expert in enumerate(("high_noise", "low_noise")):
            graph[expert] = {"class_type": kind, "inputs": {"model": ["apart", place], **inputs}}
        paired = {expert: [expert, 0] for expert in ("high_noise", "low_noise")}
        graph["together"] = {"class_type": "PairWanModels", "inputs": paired}
        graph[STACK]["inputs"]["model"] = ["together", 0]
    return graph


def fill_drawn(folder: LengthsFolder, frames: Sequence[int], prompts: Sequence[str]) -> None:
    """Draw what the prompts ask for, and read it as videos are read."""
    model = open_wan("pocket")
    for num_frames in frames:
        rows = []
        for place, prompt in enumerate(prompts):
            drawn = world.draw(world.Scene(**words_of(place)), num_frames)
            pictures = np.rint((drawn + 1) * 127.5).astype(np.uint8)
            save_video(pictures, folder.cell("drawn", num_frames) / f"{place + 1}.mp4", 16, scale=4)
            rows.append({"prompt": prompt, **readings(pictures, prompt, model)})
        found = {"num_frames": num_frames, "memory_bytes": None, "radial": None, "videos": rows}
        write_json(found, folder.readings("drawn", num_frames))


def fill_in_host(client: Client, folder: LengthsFolder, frames: Sequence[int]) -> None:
    """Make what the folder lacks of the cells in ComfyUI, and read it as headless videos are read."""
    asked, model = read_json(folder.asked) or {}, open_wan("pocket")
    for variant, (title, patch) in IN_HOST.items():
        for num_frames in frames:
            if (variant != "host" and num_frames <= WINDOW) or folder.readings(variant, num_frames).exists():
                continue
            rows = []
            for place, prompt in enumerate(asked["prompts"]):
                seed = asked["seed"] + place
                used = processor_seconds(client)
                pictures, seconds = frames_of(client, workflow(prompt, seed, num_frames, asked, patch))
                cost = {"seconds": seconds, "processor_seconds": processor_seconds(client) - used}
                save_video(pictures, folder.cell(variant, num_frames) / f"{place + 1}.mp4", asked["fps"], scale=4)
                rows.append({"prompt": prompt, "seed": seed, **readings(pictures, prompt, model), **cost})
            found = {"num_frames": num_frames, "memory_bytes": None, "radial": None, "videos": rows}
            write_json(found, folder.readings(variant, num_frames))
            print(f"{num_frames} frames, {title}", file=sys.stderr)


def processor_seconds(client: Client) -> float:
    """Return what the server has had of the processor so far."""
    times = psutil.Process(client.server.process.pid).cpu_times()
    return times.user + times.system


def frames_of(client: Client, graph: Workflow) -> tuple[np.ndarray, float]:
    """Run a graph; return the frames that it saves, and the seconds of its sampler and decoder."""
    times: dict[str, float] = {}
    current, begun = None, time.perf_counter()
    job = client.post_prompt(graph)
    for event in client.follow(job, 600):
        now = time.perf_counter()
        if event.type in ("executing", "execution_success", "execution_error"):
            if current is not None:
                times[current] = times.get(current, 0.0) + now - begun
            current, begun = event.data.get("node"), now
        if event.type == "execution_error":
            raise SystemExit(f"ComfyUI: {event.data.get('exception_message')}")
    outputs = client.history(job)["outputs"]
    files = [Path(client.server.base, "output", row["subfolder"], row["filename"]) for row in outputs[SAVE]["images"]]
    pictures = np.concatenate([read_video(file)[0] for file in files])
    return pictures, times[SAMPLER] + times[DECODE]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lora", type=Path, help="the high-noise file of a LoRA for the length; its twin is found")
    parser.add_argument("--frames", default="17,33,65", help="lengths (%(default)s)")
    parser.add_argument("--num-prompts", type=int, default=8, help="of the pocket's own (%(default)s)")
    parser.add_argument("--steps", type=int, help="the model's own by default")
    parser.add_argument("--report", type=Path, help="a .md to write the report to, its pictures in images/ beside it")
    return parser.parse_args()


def tell_of(done: int, total: int, what: str) -> None:
    if done == total:
        print(what, file=sys.stderr)


def lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield from kept_table(data)
    yield from length_tables(data)


def main() -> None:
    chosen = arguments()
    frames = tuple(int(part) for part in chosen.frames.split(","))
    prompts = pocket_prompts()[: chosen.num_prompts]
    asked = LengthsAsked(frames=frames, prompts=prompts, num_steps=chosen.steps)
    lora = None if chosen.lora is None else LoraStack().add(chosen.lora)
    folder = evaluate_lengths(open_wan("pocket"), asked, chosen.out, lora=lora, progress=tell_of).folder
    fill_drawn(folder, asked.frames, prompts)
    with tempfile.TemporaryDirectory() as base:
        host = with_requirements(find_host())
        with started(host, Path(base)) as server, connected(server) as client:
            fill_in_host(client, folder, asked.frames)
    titles = {name: title for name, (title, _) in IN_HOST.items()} | {"drawn": "as the world draws it"}
    told = {"environment": environment(), "host": str(host.version)}
    data = collect(folder, told, titles)
    path = write_report(data, chosen.report or folder.report, folder, title=TITLE)
    print("\n".join(lines(data)))
    print(f"report: {path}", file=sys.stderr)
    cells = [
        {"variant": c["variant"], "frames": c["frames"], **{k: v["mean"] for k, v in c["read"].items()}}
        for c in data["cells"]
    ]
    print(json.dumps({"benchmark": "long_video", "host": host.version, "cells": cells}))


if __name__ == "__main__":
    main()
