"""Wrong types: every public function, and every class that people build, says in our own words what it was given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lora_core
from lora_core import (
    GenerationRequest,
    LoraCoreError,
    LoraEntry,
    LoraStack,
    RunSettings,
    StrengthSchedule,
    TargetFilter,
    WanVideoGenerator,
    load_stack,
    make_plan,
    wan_spec,
)

FUNCTIONS = [name for name in lora_core.__all__ if inspect.isfunction(getattr(lora_core, name))]
WRONG = (None, 3.5, object(), [], [None], {"a": 1}, b"bytes")


def required(function: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_refuses_what_it_cannot_take(name: str, wrong: object) -> None:
    function = getattr(lora_core, name)
    if (name, wrong) in (("flow_sigmas", 3.5), ("draw_noise", [])):
        wrong = "text"
    with pytest.raises(LoraCoreError):
        function(**dict.fromkeys(required(function), wrong))


SPEC = wan_spec("wan-pocket")
LOADED = load_stack(LoraStack(), SPEC)
CLIP = np.zeros((1, 8, 8, 3), np.uint8)

CALLS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a path that is None": (
        lambda _: lora_core.read_lora(None),
        "read_lora: path is None (str or Path).",
    ),
    "a model that is a number": (
        lambda path: lora_core.read_lora(path, spec=3),
        "read_lora: spec is 3 (ModelSpec or nn.Module or None).",
    ),
    "a dtype as text": (
        lambda _: lora_core.open_wan("pocket", dtype="bf16"),
        "open_wan: dtype is 'bf16' (torch.dtype or None).",
    ),
    "a dtype as text for the generator": (
        lambda _: WanVideoGenerator(dtype="bf16"),
        "WanVideoGenerator: dtype is 'bf16' (torch.dtype or None).",
    ),
    "a dtype that nothing computes in": (
        lambda _: lora_core.open_wan("pocket", dtype=torch.int8),
        "dtype: experts cannot compute in torch.int8 (one of torch.bfloat16, torch.float16, torch.float32, torch.fl",
    ),
    "a device without numbers": (
        lambda _: lora_core.open_wan("pocket", device="meta"),
        "device: 'meta' cannot be used: ",
    ),
    "an unknown device": (lambda _: lora_core.open_wan("pocket", device="gpu"), "device: 'gpu' cannot be used: "),
    "frames that are None": (
        lambda path: lora_core.save_video(None, path / "a.mp4"),
        "save_video: frames is None (np.ndarray).",
    ),
    "a rate that is text": (
        lambda path: lora_core.save_video(CLIP, path / "a.mp4", "fast"),
        "save_video: fps is 'fast' (float).",
    ),
    "a stack that is None": (lambda _: load_stack(None, SPEC), "load_stack: stack is None (LoraStack)."),
    "a plan for nothing": (lambda _: make_plan(LOADED, None), "spec: None is none (a ModelSpec, such as model.spec)."),
    "sigmas that are a number": (lambda _: make_plan(LOADED, SPEC, sigmas=5), "sigmas: 5 are no list (noise levels f"),
    "steps that are text": (lambda _: make_plan(LOADED, SPEC, num_steps="6"), "steps: '6' is not a whole number"),
    "a prompt that is None": (lambda _: GenerationRequest(None), "prompt: None is not text (a string, perhaps empty)."),
    "latents that are a list": (
        lambda _: GenerationRequest("x", latents=[1], denoise=0.5),
        "latents: [1] are none (a tensor (1, C, F, H, W)).",
    ),
    "settings that are a list": (lambda _: RunSettings(sigmas=3), "sigmas: 3 are no list"),
    "a LoRA that is None": (lambda _: LoraStack().add(None), "stack: None is no LoRA (a path, LoraWeights or LoraEn"),
    "a stack of texts": (
        lambda _: LoraStack(["a.safetensors"]),
        "stack: 'a.safetensors' is no row of a stack (LoraEntry). ",
    ),
    "a stack of nothing": (lambda _: LoraStack(None), "stack: None is no row of a stack (LoraEntry). "),
    "an entry with a number for a path": (lambda _: LoraEntry("a", 3), "LoRA 'a': path 3 is no path (a text or Path)."),
    "a schedule as text in an entry": (
        lambda _: LoraEntry("a", "b", schedule="fade_out"),
        "LoRA 'a' schedule: 'fade_out' is none (StrengthSchedule.parse(text)).",
    ),
    "a preset at None": (lambda _: LoraStack.read_preset(None), "read_preset: path is None (str or Path)."),
    "a schedule of nothing": (lambda _: StrengthSchedule(None), "schedule: keyframes None are no list"),
    "a schedule read from a number": (
        lambda _: StrengthSchedule.parse(3),
        "StrengthSchedule.parse: text is 3 (str).",
    ),
    "a filter of texts": (lambda _: TargetFilter(["ffn=0"]), "target filter: rules ['ffn=0'] are none"),
    "a filter read from a number": (lambda _: TargetFilter.parse(3), "TargetFilter.parse: text is 3 (str)."),
    "entries instead of routed LoRAs": (
        lambda _: lora_core.attach(nn.Linear(2, 2), [LoraEntry("a", "b")]),
        "attach: entries is [LoraEntry(",
    ),
    "an unrouted stack": (lambda _: lora_core.route(LoraStack(), SPEC), "stack: its files have not been read."),
    "a size that is no number": (lambda _: lora_core.draw_noise((1, "2"), 0), "shape: '2' is not a whole number"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_named_with_what_was_expected(name: str, tmp_path: Path) -> None:
    call, said = CALLS[name]
    with pytest.raises(LoraCoreError) as caught:
        call(tmp_path)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("wrong", [None, 3, [None], [3], [[]], [{}], "text", [["a"] * 5], [{"path": None}]], ids=repr)
def test_a_generator_refuses_lists_that_are_none(wrong: object) -> None:
    generator = WanVideoGenerator("pocket")
    with pytest.raises(LoraCoreError):
        generator.load_multiple_loras(wrong)
    with pytest.raises(LoraCoreError):
        generator.load_specialized_lora(wrong)
    with pytest.raises(LoraCoreError):
        generator.unload_loras(wrong)
    with pytest.raises(LoraCoreError):
        generator.generate_video("x", last_image=3 if wrong is None else wrong)
