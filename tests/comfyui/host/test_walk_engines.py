"""The two engines agree: the walk through ComfyUI and lora_core's own sampling, from the same files and noise."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import lora_kinds
import native
import pytest
import torch
from native import relative_error
from sampling import NEGATIVE, POSITIVE, SEED, SHIFT, STEPS, empty, ours, video
from wanloom.lora_core import (
    SOLVERS,
    Condition,
    LoraStack,
    RunSettings,
    WanModel,
    draw_noise,
    load_stack,
    open_wan,
    sample,
)
from wanloom.nodes.folders import lora_folders
from wanloom.nodes.load import paired
from wanloom.nodes.sockets import WanModelHandle

as_in_a_node = native.as_in_a_node
pytest.importorskip("diffusers", reason="diffusers, whose networks lora_core runs, is not installed")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [native.save_model(folder / f"{name}.safetensors", seed=i) for i, name in enumerate(("high", "low"))]


@pytest.fixture(scope="module")
def headless(files: list[Path]) -> WanModel:
    return open_wan(files[0], low_noise=files[1], dtype=torch.float32)


@pytest.fixture(scope="module")
def in_comfyui(files: list[Path]) -> WanModelHandle:
    """The same model with LoRAs of several kinds, of one expert and of both, one of them on a schedule."""
    host = native.Host(files[0].parent)
    model = paired(*(host.open(file) for file in files), "test")
    folder = Path(folder_paths.get_folder_paths("loras")[0]) / "engines"
    folder.mkdir(parents=True)
    stack = LoraStack()
    for name, make, row in (
        ("lora", lora_kinds.lora, {"applies_to": "both", "schedule": "fade_out"}),
        ("dora", lora_kinds.dora, {"applies_to": "high_noise"}),
        ("lokr", lora_kinds.lokr, {"applies_to": "low_noise"}),
    ):
        tensors = lora_kinds.layer_tensors(make) | lora_kinds.norm_tensors() | lora_kinds.table_tensors()
        stack = stack.add(lora_kinds.save(folder / f"{name}.safetensors", tensors), 0.6, **row)
    loaded = load_stack(stack, model.spec, lora_folders=lora_folders())
    return model.with_loras(loaded)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_both_engines_give_the_same_latents(
    headless: WanModel, in_comfyui: WanModelHandle, solver: str, cfg: float
) -> None:
    found, denoised = ours(in_comfyui, cfg_high=cfg, cfg_low=1.0, negative=NEGATIVE, solver=solver)
    plan = in_comfyui.plan(RunSettings(num_steps=STEPS, shift=SHIFT, cfg=(cfg, 1.0)))
    condition = Condition(POSITIVE[0][0], NEGATIVE[0][0])
    last = []
    expected = sample(
        headless,
        plan,
        draw_noise((1, 16, 2, 6, 4), SEED),
        condition,
        solver=solver,
        seed=SEED,
        callback=lambda step, num_steps, x0: last.append(x0),
    )
    assert relative_error(found["samples"], expected) < 1e-4
    assert relative_error(denoised["samples"], last[-1]) < 1e-4


def test_both_engines_start_from_a_video_alike(headless: WanModel, in_comfyui: WanModelHandle) -> None:
    found = ours(in_comfyui, video(), denoise=0.75)[0]["samples"]
    plan = in_comfyui.plan(RunSettings(num_steps=STEPS, shift=SHIFT, denoise=0.75))
    noise = draw_noise((1, 16, 2, 6, 4), SEED)
    expected = sample(headless, plan, noise, Condition(POSITIVE[0][0]), start=video()["samples"])
    assert relative_error(found, expected) < 1e-4


def test_both_engines_hand_leftover_noise_on_alike(headless: WanModel, in_comfyui: WanModelHandle) -> None:
    found = ours(in_comfyui, empty(), end_at_step=5, return_with_leftover_noise="enable")[0]["samples"]
    plan = in_comfyui.plan(RunSettings(num_steps=STEPS, shift=SHIFT)).part(0, 5)
    expected = sample(headless, plan, draw_noise((1, 16, 2, 6, 4), SEED), Condition(POSITIVE[0][0]))
    assert relative_error(found, expected) < 1e-4
