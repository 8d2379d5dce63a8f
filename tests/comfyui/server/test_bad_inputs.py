"""Bad inputs come back as errors of the node at fault, saying where, what and what to do."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from harness.client import Client, PromptRefusedError, Workflow
from harness.workflows import DECODE, LOADER, POCKET_LORAS, POSITIVE, ROUTE, SAMPLER, STACK, node, pocket_workflow
from safetensors.torch import save_file

# `<file or node>: <what is wrong> (<what was expected>). <what to do>.`
OUR_FORM = re.compile(r"^[^\n]+?: .+\.$", re.DOTALL)

GOOD = "neon_style_high_noise.safetensors"
# name -> (rows of the stack, words of the message)
BAD_ROWS: dict[str, tuple[Any, str]] = {
    "malformed JSON": ('[{"path": ', "JSON"),
    "not a list": ("5", "list"),
    "a missing file, the nearest named": ([{"path": "neon_stile_high_noise.safetensors"}], GOOD),
    "a path outside of the folders": ([{"path": "../../../secret.safetensors"}], "folder"),
    "an absolute path": ([{"path": "/etc/secret.safetensors"}], "folder"),
    "an unknown key": ([{"path": GOOD, "strenght": 1}], "strenght"),
    "a strength that is no number": ([{"path": GOOD, "weight": "strong"}], "strong"),
    "a schedule nobody knows": ([{"path": GOOD, "schedule": "sideways"}], "sideways"),
    "an expert nobody knows": ([{"path": GOOD, "applies_to": "middle"}], "middle"),
}
# name -> (node, input, value, words of the message)
BAD_VALUES: dict[str, tuple[str, str, Any, str]] = {
    "a boundary that is a word, at the route": (ROUTE, "boundary", "abc", "abc"),
    "a boundary that is a word, at the sampler": (SAMPLER, "boundary", "abc", "abc"),
    "a boundary above 1": (SAMPLER, "boundary", "1.5", "1.5"),
    "overrides that are no JSON": (ROUTE, "overrides", "[{", "overrides"),
    "no step to do": (SAMPLER, "start_at_step", 10_000, "start_at_step"),
}
# name -> (class of a node put beside the others, its inputs, words of the message)
BAD_NODES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a preset saved outside of its folder": ("SaveLoraStack", {"name": "../../outside"}, "../../outside"),
    "a preset read from outside": ("LoadLoraStack", {"preset": "../../../outside", "verify": True}, "outside"),
    "a preset that is not there": ("LoadLoraStack", {"preset": "gone", "verify": True}, "gone"),
    "a blend by no schedule": ("BlendLoras", {"mode": "cross-fade", "schedule": "sideways"}, "sideways"),
    "scenes that are no JSON": ("SceneLoras", {"scenes": "a cat runs"}, "scenes"),
    "a scene without a prompt": ("SceneLoras", {"scenes": '[{"length": 9}]'}, "prompt"),
}
VALID: dict[str, dict[str, Any]] = {
    "SaveLoraStack": {"stack": [STACK, 2]},
    "LoadLoraStack": {},
    "BlendLoras": {"model": [STACK, 0], "first": "a", "second": "b", "amount": 0.5},
    "SceneLoras": {
        **{"model": [STACK, 0], "clip": [LOADER, 1], "vae": [LOADER, 2], "width": 64, "height": 64, "length": 9},
        **{"seed": 1, "steps": 6, "shift": 5.0, "cfg_high": 1.0, "cfg_low": 1.0, "solver": "euler"},
        **{"boundary": "auto", "negative": ""},
    },
}
# class -> the output node that takes what it gives; without one it would be left out
TAKERS = {
    "LoadLoraStack": node("SaveLoraStack", stack=["tested", 0], name="taken"),
    "BlendLoras": node("SaveLoraStack", stack=["tested", 2], name="taken"),
    "SceneLoras": node("SaveImage", images=["tested", 0], filename_prefix="taken"),
}


def refusal(comfy: Client, workflow: Workflow, node_id: str) -> str:
    """Return what the server said about a node when it refused to queue a workflow."""
    with pytest.raises(PromptRefusedError) as caught:
        comfy.post_prompt(workflow)
    assert set(caught.value.node_errors) == {node_id}
    return caught.value.texts(node_id)


def failure(comfy: Client, workflow: Workflow, node_id: str) -> str:
    """Return the message of the error with which a run ended at a node."""
    run = comfy.run(workflow)
    assert run.outcome == "error"
    assert run.error["node_id"] == node_id
    message = run.error["exception_message"].strip()
    assert OUR_FORM.match(message)
    return message


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_before_the_run(comfy: Client, case: str) -> None:
    rows, words = BAD_ROWS[case]
    text = refusal(comfy, pocket_workflow(rows), STACK)
    assert words in text
    assert text.endswith(".")


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_values_are_refused_before_the_run(comfy: Client, case: str) -> None:
    node_id, name, value, words = BAD_VALUES[case]
    workflow = pocket_workflow()
    workflow[node_id]["inputs"][name] = value
    text = refusal(comfy, workflow, node_id)
    assert words in text
    assert text.endswith(".")


def workflow_with(kind: str, inputs: dict[str, Any], loras: list[dict[str, Any]]) -> Workflow:
    """Return a loaded model with a stack, the node to test, and an output node."""
    workflow = {key: part for key, part in pocket_workflow(loras).items() if key in (LOADER, STACK)}
    workflow["tested"] = node(kind, **{**VALID[kind], **inputs})
    return {**workflow, "taker": TAKERS[kind]} if kind in TAKERS else workflow


@pytest.mark.parametrize("case", BAD_NODES)
def test_bad_values_of_the_other_nodes_are_refused_before_the_run(comfy: Client, case: str) -> None:
    kind, inputs, words = BAD_NODES[case]
    text = refusal(comfy, workflow_with(kind, inputs, [{"path": GOOD}]), "tested")
    assert words in text
    assert text.endswith(".")


def test_a_blend_of_a_lora_that_is_not_there_is_an_error_of_the_blend(comfy: Client) -> None:
    names = {"first": "neon_style_high_noise", "second": "gone", "mode": "fixed", "schedule": "fade_in"}
    assert "gone" in failure(comfy, workflow_with("BlendLoras", names, [{"path": GOOD}]), "tested")


def test_a_saved_stack_whose_file_has_changed_is_an_error_of_the_loader(comfy: Client) -> None:
    file = comfy.server.base / "models" / "loras" / "changes.safetensors"
    shutil.copy(POCKET_LORAS / GOOD, file)
    rows = [{"path": file.name, "find_twin": False}]
    assert comfy.run(workflow_with("SaveLoraStack", {"name": "changes"}, rows)).outcome == "success"
    shutil.copy(POCKET_LORAS / GOOD.replace("neon_style", "zibbo_character"), file)
    loader = workflow_with("LoadLoraStack", {"preset": "changes", "verify": True}, [])
    assert file.name in failure(comfy, loader, "tested")


@pytest.mark.parametrize("name", ["cfg_high", "cfg_low"])
def test_guidance_without_a_negative_prompt_is_an_error_of_the_sampler(comfy: Client, name: str) -> None:
    assert "negative" in failure(comfy, pocket_workflow(**{name: 2.0}), SAMPLER)


def test_an_override_of_a_lora_that_is_not_there_is_an_error_of_the_route(comfy: Client) -> None:
    workflow = pocket_workflow([{"path": GOOD}])
    workflow[ROUTE]["inputs"]["overrides"] = '[{"name": "gone", "applies_to": "both"}]'
    assert "gone" in failure(comfy, workflow, ROUTE)


def write_lora(comfy: Client, name: str, target: str, width: int) -> str:
    file: Path = comfy.server.base / "models" / "loras" / name
    halves = {"lora_down": torch.ones(4, width), "lora_up": torch.ones(width, 4)}
    save_file({f"diffusion_model.{target}.{half}.weight": tensor for half, tensor in halves.items()}, file)
    return name


def test_a_lora_of_another_size_is_an_error_of_the_stack(comfy: Client) -> None:
    name = write_lora(comfy, "too_wide.safetensors", "blocks.0.self_attn.q", 5120)
    message = failure(comfy, pocket_workflow([{"path": name}]), STACK)
    assert name in message
    assert "5120" in message


def test_a_lora_of_another_model_is_an_error_of_the_stack(comfy: Client) -> None:
    name = write_lora(comfy, "of_another_model.safetensors", "double_blocks.0.img_attn.qkv", 64)
    assert name in failure(comfy, pocket_workflow([{"path": name}]), STACK)


def test_a_file_that_is_no_lora_is_an_error_of_the_stack(comfy: Client) -> None:
    (comfy.server.base / "models" / "loras" / "a_text.safetensors").write_text("not a LoRA at all, though named so")
    assert "a_text.safetensors" in failure(comfy, pocket_workflow([{"path": "a_text.safetensors"}]), STACK)


def test_after_all_that_a_good_prompt_still_runs(comfy: Client) -> None:
    assert comfy.run(pocket_workflow([{"path": GOOD}])).outcome == "success"


@pytest.mark.parametrize("piece", ["text encoder", "VAE"])
def test_a_run_without_a_piece_that_it_needs_is_an_error_in_the_history(comfy: Client, piece: str) -> None:
    single = {"high_noise": "single.safetensors", "low_noise": "none: single expert"}
    folder = comfy.server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(POCKET_LORAS.parent / "wan_pocket_low_noise.safetensors", folder / "single.safetensors")
    workflow = pocket_workflow()
    workflow[LOADER]["inputs"] |= single
    if piece == "VAE":
        workflow["text"] = node("LoadWanModel", **pocket_workflow()[LOADER]["inputs"])
        workflow[POSITIVE]["inputs"]["clip"] = ["text", 1]
    prompt_id = comfy.post_prompt(workflow)
    run = comfy.wait(prompt_id)
    assert run.outcome == "error"
    assert run.error["node_id"] == (POSITIVE if piece == "text encoder" else DECODE)
    remedy = f"Choose one, or use another loader's {'CLIP' if piece == 'text encoder' else 'VAE'}"
    assert run.error["exception_message"].strip() == f"LoadWanModel: no {piece} was chosen. {remedy}."
    history = requests.get(f"{comfy.server.url}/history/{prompt_id}", timeout=30).json()[prompt_id]
    assert history["status"]["status_str"] == "error"
