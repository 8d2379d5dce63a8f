"""Runs of Sampler6Step with LoRAs: strengths by step, what is loaded, and how a run ends early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.hooks
import comfy.model_management
import comfy.utils
import folder_paths
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras import nodes_custom_sampler as custom
from native import relative_error
from sampling import SHIFT, STEPS, SWITCH, assert_same, core_custom, core_pair, empty, ours, prompt
from torch import Tensor
from wanloom.lora_core import LoadedStack, LoraStack, RunSettings, load_stack
from wanloom.nodes.folders import lora_folders
from wanloom.nodes.load import SplitWanModel, paired
from wanloom.nodes.sockets import WanModelHandle, model_of

as_in_a_node = native.as_in_a_node


@pytest.fixture
def host(tmp_path: Path) -> native.Host:
    return native.Host(tmp_path)


@pytest.fixture
def model(host: native.Host) -> WanModelHandle:
    return paired(host.model(seed=0), host.model(seed=1), "test")


@pytest.fixture
def stack(tmp_path: Path, model: WanModelHandle) -> LoadedStack:
    """LoRAs on both experts or one, with schedules on either axis, on layers, norms and tables."""
    rows: list[dict[str, Any]] = [
        {"schedule": "fade_out"},
        {"applies_to": "high_noise", "strength": 0.6},
        {"applies_to": "low_noise", "schedule": "fade_in@steps"},
        {"low_noise_strength": -0.5, "schedule": "keyframes:1=0.2,0.7=1.3"},
    ]
    whole = LoraStack()
    folder = Path(folder_paths.get_folder_paths("loras")[0]) / tmp_path.name
    folder.mkdir()
    for seed, row in enumerate(rows):
        tensors = lora_kinds.layer_tensors(lora_kinds.lora, seed=seed) | lora_kinds.norm_tensors()
        path = lora_kinds.save(folder / f"lora{seed}.safetensors", tensors | lora_kinds.table_tensors())
        whole = whole.add(path, row.pop("strength", 1.0), row.pop("applies_to", "both"), **row)
    return load_stack(whole, model.spec, lora_folders=lora_folders())


def with_stack(model: WanModelHandle, stack: LoadedStack) -> WanModelHandle:
    return replace(model, loaded=stack, settings=RunSettings(num_steps=STEPS, shift=SHIFT))


def load_calls(monkeypatch: pytest.MonkeyPatch) -> list[ModelPatcher]:
    """Return a list that every load of weights adds its MODEL to."""
    calls: list[ModelPatcher] = []
    load = ModelPatcher.load

    def counted(patcher: ModelPatcher, *args: Any, **options: Any) -> None:
        calls.append(patcher.model)
        load(patcher, *args, **options)

    monkeypatch.setattr(ModelPatcher, "load", counted)
    return calls


# ------------------------------------------------------------------------------------------ strengths


def test_the_models_of_split_wan_model_carry_the_stack_and_its_schedules(
    model: WanModelHandle, stack: LoadedStack
) -> None:
    loaded = with_stack(model, stack)
    expected = ours(loaded)[0]
    assert relative_error(expected["samples"], ours(model)[0]["samples"]) > 0.03
    high, low, sigmas_high, sigmas_low, switch = SplitWanModel.execute(loaded).args
    assert switch == SWITCH
    split = model_of(model.spec, low, high)
    for _ in range(2):
        assert_same(core_pair(split, empty()), expected)
    noisy = core_custom(high, empty(), sigmas=sigmas_high)[0]
    assert_same(core_custom(low, noisy, sigmas=sigmas_low, noise=custom.Noise_EmptyNoise())[0], expected)


def test_each_step_runs_at_the_strengths_of_its_plan(model: WanModelHandle, stack: LoadedStack) -> None:
    """A run equals one of single steps, each with the strengths of its step and no schedule."""
    loaded = with_stack(model, stack)
    plan = loaded.plan(loaded.settings)
    latent = empty()
    for step in plan.steps:
        fixed = LoraStack()
        for lora, strength in zip(plan.route.for_expert(step.expert), step.strengths, strict=True):
            fixed = fixed.add(lora.weights, strength, step.expert, name=lora.name)
        part = {"start_at_step": step.index, "end_at_step": step.index + 1, "return_with_leftover_noise": "enable"}
        dressed = with_stack(model, load_stack(fixed, model.spec))
        latent = ours(dressed, latent, add_noise="disable" if step.index else "enable", **part)[0]
    assert_same(latent, ours(loaded)[0])


def test_parts_of_a_run_have_the_strengths_of_the_whole(model: WanModelHandle, stack: LoadedStack) -> None:
    loaded = with_stack(model, stack)
    first = ours(loaded, end_at_step=6, return_with_leftover_noise="enable")[0]
    assert_same(ours(loaded, first, start_at_step=6, add_noise="disable")[0], ours(loaded)[0])


def test_a_hooked_lora_of_cores_goes_together_with_a_stack(model: WanModelHandle, stack: LoadedStack) -> None:
    hooks = comfy.hooks.create_hook_lora(lora_kinds.layer_tensors(lora_kinds.loha, seed=9), 0.8, 0.0)
    positive = [*prompt(1, hooks=hooks), *prompt(3)]
    loaded = with_stack(model, stack)
    high, low, *_ = SplitWanModel.execute(loaded).args
    found = ours(loaded, positive=positive)[0]
    assert_same(found, core_pair(model_of(model.spec, low, high), empty(), positive=positive))
    assert relative_error(ours(loaded, positive=[*prompt(1), *prompt(3)])[0]["samples"], found["samples"]) > 0.001


# ------------------------------------------------------------------------------------------ what is loaded


def test_a_run_leaves_the_models_as_they_were(model: WanModelHandle, stack: LoadedStack) -> None:
    before = ours(model)[0]["samples"]
    ours(with_stack(model, stack))
    for _, patcher in model.experts():
        modules = patcher.model.diffusion_model.modules()
        assert not any("forward" in vars(module) for module in modules)
        assert not patcher.wrappers
        assert not patcher.injections
    assert torch.equal(ours(model)[0]["samples"], before)


def test_another_strength_loads_nothing_again(
    model: WanModelHandle, stack: LoadedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours(with_stack(model, stack))
    calls = load_calls(monkeypatch)
    changed = with_stack(model, stack.with_settings(stack.stack.with_strength("lora0", 0.3, 0.9)))
    found = ours(changed)[0]["samples"]
    assert not calls
    native.unload()
    assert torch.equal(ours(changed)[0]["samples"], found)


def test_only_the_expert_at_work_is_asked_for(model: WanModelHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = load_calls(monkeypatch)
    ours(model, end_at_step=SWITCH)
    assert set(calls) == {model.high_noise.model}
    calls.clear()
    ours(model, start_at_step=SWITCH, add_noise="disable")
    assert set(calls) == {model.low_noise.model}


# ------------------------------------------------------------------------------------------ progress, and ends


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, bool]]:
    """What the host is told while a run goes on: steps done, steps in all, whether there is a preview."""
    told: list[tuple[int, int, bool]] = []
    hook = lambda value, total, preview, node_id=None: told.append((value, total, preview is not None))  # noqa: E731  # the host asks for a callable
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)
    return told


def test_progress_counts_the_steps_of_both_experts(model: WanModelHandle, shown: list[tuple[int, int, bool]]) -> None:
    ours(model)
    assert shown == [(step, STEPS, False) for step in range(1, STEPS + 1)]
    shown.clear()
    ours(model, start_at_step=2, end_at_step=5)
    assert shown == [(step, 3, False) for step in range(1, 4)]


def test_previews_are_shown_where_the_host_wants_them(
    model: WanModelHandle, shown: list[tuple[int, int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.cli_args import LatentPreviewMethod, args

    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
    ours(model)
    assert shown == [(step, STEPS, True) for step in range(1, STEPS + 1)]


def at_call(number: int, do: Callable[[], None]) -> Callable[..., Tensor]:
    """Return a wrapper of a MODEL's network that does something before its nth call."""
    calls = []

    def wrapper(apply_model: Callable[..., Tensor], args: dict[str, Any]) -> Tensor:
        calls.append(args)
        if len(calls) == number:
            do()
        return apply_model(args["input"], args["timestep"], **args["c"])

    return wrapper


def run_out_of_memory() -> None:
    raise comfy.model_management.OOM_EXCEPTION("made up")


@pytest.mark.parametrize(
    ("do", "error"),
    [
        (comfy.model_management.interrupt_current_processing, comfy.model_management.InterruptProcessingException),
        (run_out_of_memory, comfy.model_management.OOM_EXCEPTION),
    ],
    ids=["interrupt", "out of memory"],
)
@pytest.mark.parametrize("expert", ["high_noise", "low_noise"])
def test_a_run_that_ends_early_says_so_and_the_next_is_right(
    model: WanModelHandle, stack: LoadedStack, do: Callable[[], None], error: type[BaseException], expert: str
) -> None:
    loaded = with_stack(model, stack)
    expected, base = ours(loaded)[0]["samples"], ours(model)[0]["samples"]
    patcher = model.expert(expert)
    patcher.set_model_unet_function_wrapper(at_call(2, do))
    with pytest.raises(error):
        ours(loaded)
    del patcher.model_options["model_function_wrapper"]
    assert torch.equal(ours(model)[0]["samples"], base)
    assert torch.equal(ours(loaded)[0]["samples"], expected)
