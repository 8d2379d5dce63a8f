"""Runs on the pocket model through POST /prompt: results, interrupts, memory, previews."""

import hashlib
import io
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from harness.client import Client, Run, Workflow
from harness.workflows import (
    DECODE,
    ROUTE,
    SAMPLER,
    SAVE,
    SHIPPED,
    SHIPPED_FOR_THE_API,
    SHIPPED_NAMES,
    STACK,
    needed_files,
    node,
    pocket_workflow,
    read,
)
from PIL import Image

from lora_core.media.video import read_video

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".webp", ".gif")

SPEED = {"path": "speed_6steps_high_noise.safetensors"}
NEON = {"path": "neon_style_high_noise.safetensors", "weight": 0.8, "schedule": "fade_out"}
ZIBBO = {"path": "zibbo_character_high_noise.safetensors", "weight": 0.7}
ORBIT = {"path": "orbit_motion_high_noise.safetensors", "applies_to": "high_noise"}


def succeeded(run: Run) -> Run:
    assert run.outcome == "success", run.error.get("exception_message")
    return run


def pixels(comfy: Client, run: Run) -> np.ndarray:
    """Return the frames a run saved as pictures (F, height, width, 3); their files' metadata is not in them."""
    return np.stack([np.asarray(Image.open(io.BytesIO(comfy.view(file)))) for file in succeeded(run).files(SAVE)])


def digest(comfy: Client, run: Run) -> str:
    return hashlib.sha256(pixels(comfy, run).tobytes()).hexdigest()


def forget(comfy: Client) -> None:
    """Make the server drop models and kept results, so that the next run starts anew."""
    requests.post(
        f"{comfy.server.url}/free", json={"unload_models": True, "free_memory": True}, timeout=30
    ).raise_for_status()


def test_all_workflows_are_shipped_for_the_api_too() -> None:
    assert {file.stem for file in SHIPPED_FOR_THE_API} == {file.stem for file in SHIPPED} == SHIPPED_NAMES


@pytest.mark.parametrize("file", SHIPPED_FOR_THE_API, ids=lambda file: file.stem)
def test_a_shipped_workflow_runs_to_a_saved_video(comfy: Client, file: Path) -> None:
    workflow = read(file)
    if missing := needed_files(workflow):
        pytest.skip(f"needs {', '.join(sorted(missing))}")
    run = succeeded(comfy.run(workflow, seconds=300))  # one of them trains
    videos = [entry for entry in run.files() if entry["filename"].endswith(VIDEO_SUFFIXES)]
    assert videos
    frames, _ = read_video(comfy.path(videos[0]))
    assert len(frames) >= 5
    assert frames.std() > 1, "an empty picture"


@pytest.mark.parametrize("file", SHIPPED_FOR_THE_API, ids=lambda file: file.stem)
def test_a_shipped_workflow_names_nodes_and_inputs_that_exist(comfy: Client, file: Path) -> None:
    described = comfy.object_info()
    assert [fault for part in read(file).values() for fault in faults(part, described)] == []


def faults(part: dict[str, Any], described: dict[str, Any]) -> list[str]:
    """Return what of a workflow's node the server does not know, and what it misses."""
    kind, given = part["class_type"], part["inputs"]
    if kind not in described:
        return [f"no node {kind}"]
    inputs = described[kind]["input"]
    known = {**inputs.get("required", {}), **inputs.get("optional", {})}
    unknown = [f"{kind} has no input {name}" for name in given if name.split(".")[0] not in known]
    return unknown + [f"{kind} lacks {name}" for name in inputs.get("required", {}) if name not in given]


def test_the_same_seed_gives_the_same_frames_and_a_lora_others(comfy: Client) -> None:
    plain = pixels(comfy, comfy.run(pocket_workflow()))
    forget(comfy)
    again = pixels(comfy, comfy.run(pocket_workflow()))
    styled = pixels(comfy, comfy.run(pocket_workflow([NEON])))
    assert np.array_equal(plain, again)
    assert not np.array_equal(plain, styled)
    assert plain.shape == (9, 64, 64, 3)


def test_a_second_run_with_another_strength_repeats_only_what_follows(comfy: Client) -> None:
    succeeded(comfy.run(pocket_workflow([SPEED, NEON])))
    run = succeeded(comfy.run(pocket_workflow([SPEED, {**NEON, "weight": 0.5}])))
    assert run.executed == [STACK, ROUTE, SAMPLER, DECODE, SAVE]


def test_an_interrupt_in_the_middle_leaves_the_next_run_correct(comfy: Client) -> None:
    workflow = pocket_workflow([SPEED, NEON, ZIBBO], steps=40)
    wanted = digest(comfy, comfy.run(workflow))
    forget(comfy)
    prompt_id = comfy.post_prompt(workflow)
    for event in comfy.follow(prompt_id):
        if event.type == "progress" and event.data["node"] == SAMPLER and event.data["value"] == 5:
            comfy.interrupt()
    assert event.type == "execution_interrupted"
    assert digest(comfy, comfy.run(workflow)) == wanted


def test_ten_queued_prompts_with_changed_loras_do_not_grow_the_server(comfy: Client) -> None:
    choices = [[SPEED], [SPEED, NEON], [SPEED, ZIBBO, ORBIT], [NEON, ZIBBO], [ORBIT]]
    queued = []
    for number in range(10):
        loras = deepcopy(choices[number % len(choices)])
        loras[0]["weight"] = 0.5 + number / 20
        queued.append(comfy.post_prompt(pocket_workflow(loras, seed=100 + number)))
    sizes = []
    for prompt_id in queued:
        succeeded(comfy.wait(prompt_id))
        sizes.append(comfy.rss())
    assert max(sizes[3:]) <= 1.05 * sizes[2], [size >> 20 for size in sizes]


def test_a_saved_stack_gives_the_same_frames(comfy: Client) -> None:
    given = pocket_workflow([NEON, ZIBBO])
    given["preset"] = node("SaveLoraStack", stack=[STACK, 2], name="kept/neon zibbo")
    wanted = digest(comfy, comfy.run(given))
    kept = pocket_workflow()
    kept["preset"] = node("LoadLoraStack", preset="kept/neon zibbo", verify=True)
    kept[STACK]["inputs"]["stack"] = ["preset", 0]
    assert digest(comfy, comfy.run(kept)) == wanted


def test_the_sampler_reports_each_step_and_shows_previews(comfy: Client) -> None:
    run = succeeded(comfy.run(pocket_workflow(seed=2024)))
    steps = [data["value"] for data in run.of_type("progress") if data["node"] == SAMPLER]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert len(run.of_type("preview")) >= 6


def test_the_report_stands_on_the_stack_node(comfy: Client) -> None:
    workflow: Workflow = pocket_workflow([SPEED, NEON])
    shown = succeeded(comfy.run(workflow)).outputs[STACK]
    assert "speed_6steps" in shown["text"][0]
    assert len(shown["loras"]) == 2


def test_the_plan_is_previewed_on_the_route_node(comfy: Client) -> None:
    run = succeeded(comfy.run(pocket_workflow([SPEED, NEON], seed=11)))
    plot = Image.open(io.BytesIO(comfy.view(run.files(ROUTE)[0])))
    assert min(plot.size) > 100
