"""Bad inputs come back as errors of the node at fault, saying where, what and what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from harness.client import Client, PromptRefusedError
from harness.workflows import ROUTE, SAMPLER, STACK, pocket_workflow
from safetensors.torch import save_file

# `<file or node>: <what is wrong> (<what was expected>). <what to do>.`
OUR_FORM = re.compile(r"^[^\n]+?: .+\.$", re.DOTALL)

GOOD = "neon_style_high_noise.safetensors"
# name -> (rows of the stack, words of the message)
BAD_ROWS: dict[str, tuple[Any, str]] = {
    "malformed JSON": ('[{"path": ', "JSON"),
    "not a list": ('{"path": 1}', "list"),
    "a missing file": ([{"path": "neon_stile.safetensors"}], "neon_stile.safetensors: no such file"),
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


def refusal(comfy: Client, workflow: dict[str, Any], node: str) -> str:
    """Return what the server said about a node when it refused to queue a workflow."""
    with pytest.raises(PromptRefusedError) as caught:
        comfy.post_prompt(workflow)
    assert set(caught.value.node_errors) == {node}
    return caught.value.texts(node)


def failure(comfy: Client, workflow: dict[str, Any], node: str) -> str:
    """Return the message of the error with which a run ended at a node."""
    run = comfy.run(workflow)
    assert run.outcome == "error"
    assert run.error["node_id"] == node
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
    node, name, value, words = BAD_VALUES[case]
    workflow = pocket_workflow()
    workflow[node]["inputs"][name] = value
    text = refusal(comfy, workflow, node)
    assert words in text
    assert text.endswith(".")


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
