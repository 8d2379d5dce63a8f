"""LoraGrid: every cell is what Sampler6Step makes of it, what cells begin with is sampled once, mistakes come first."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import comfy.utils
import folder_paths
import nodes
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from wanloom.lora_core import LoraCoreError
from wanloom.nodes import grid_cells
from wanloom.nodes.grid import LoraGrid
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.sample import Sampler6Step
from wanloom.nodes.stack import ApplyLoraStack

STACK = [
    {"path": "speed_6steps_high_noise.safetensors", "name": "speed"},
    {"path": "zibbo_character_high_noise.safetensors", "name": "zibbo"},
]
RUN = {"steps": 6, "shift": 5.0, "cfg_high": 1.0, "cfg_low": 1.0, "solver": "euler", "boundary": "auto", "denoise": 1.0}
PROMPT = "a zibbo moves right on a plain background"
LOW = "strength zibbo low_noise = 0 | 0.8"


@pytest.fixture(scope="module")
def pocket() -> SimpleNamespace:
    model, clip, vae = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args
    (positive,) = nodes.CLIPTextEncode().encode(clip, PROMPT)
    latent = {"samples": torch.zeros(1, 16, 2, 4, 4)}
    return SimpleNamespace(model=model, clip=clip, vae=vae, positive=positive, latent=latent)


@pytest.fixture
def steps_seen() -> Iterator[list[tuple[int, int]]]:
    """The (step, of how many) that the host was told."""
    seen: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(lambda done, total, *_, **__: seen.append((done, total)))
    yield seen
    comfy.utils.set_progress_bar_global_hook(None)


def with_stack(pocket: SimpleNamespace, rows: list[dict[str, Any]] = STACK) -> Any:
    return ApplyLoraStack.execute(pocket.model, json.dumps(rows)).args[0]


def grid(pocket: SimpleNamespace, columns: str, rows: str = "", **options: Any) -> Any:
    given = {"seed": 3, "vae": pocket.vae, "positive": pocket.positive, "latent": pocket.latent, **RUN, **options}
    with torch.inference_mode():
        return LoraGrid.execute(model=with_stack(pocket), columns=columns, rows=rows, **given).args


def alone(pocket: SimpleNamespace, rows: list[dict[str, Any]] = STACK, **options: Any) -> torch.Tensor:
    given = {"seed": 3, "positive": pocket.positive, "latent": pocket.latent, **RUN, **options}
    with torch.inference_mode():
        return Sampler6Step.execute(model=with_stack(pocket, rows), **given).args[0]["samples"]


def zibbo(**changes: Any) -> list[dict[str, Any]]:
    return [STACK[0], STACK[1] | changes]


@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m", "lcm"])
def test_a_cell_is_bit_for_bit_what_the_sampler_makes(
    pocket: SimpleNamespace, steps_seen: list[tuple[int, int]], solver: str
) -> None:
    sheet, images, latents, report = grid(pocket, LOW, solver=solver)
    assert {total for _, total in steps_seen} == {9}
    assert sorted(steps_seen)[-1] == (9, 9)
    assert torch.equal(latents["samples"][:1], alone(pocket, zibbo(low_noise_weight=0), solver=solver))
    assert torch.equal(latents["samples"][1:], alone(pocket, zibbo(low_noise_weight=0.8), solver=solver))
    assert images.shape == (10, 32, 32, 3)
    assert sheet.shape[0] == 5
    assert sheet.shape[2] > 2 * 192
    assert report.startswith("2 cells to make: 3 high-noise and 6 low-noise steps, 75% of what they take one by one")


def test_axes_change_what_the_widgets_say(pocket: SimpleNamespace) -> None:
    latents = grid(pocket, "seed = 4 | 5", "steps = 2 | 3")[2]["samples"]
    for place, (steps, seed) in enumerate([(2, 4), (2, 5), (3, 4), (3, 5)]):
        assert torch.equal(latents[place : place + 1], alone(pocket, seed=seed, steps=steps))


def test_an_axis_of_prompts_is_read_by_the_clip(pocket: SimpleNamespace) -> None:
    other = "a red circle moves up on a plain background"
    latents = grid(pocket, f"prompt = {PROMPT} | {other}", clip=pocket.clip)[2]["samples"]
    (positive,) = nodes.CLIPTextEncode().encode(pocket.clip, other)
    assert torch.equal(latents[:1], alone(pocket))
    assert torch.equal(latents[1:], alone(pocket, positive=positive))


def test_a_lora_is_left_out_by_its_name(pocket: SimpleNamespace) -> None:
    latents = grid(pocket, "without = none | zibbo | speed")[2]["samples"]
    for place, rows in enumerate([STACK, STACK[:1], STACK[1:]]):
        assert torch.equal(latents[place : place + 1], alone(pocket, rows))


def test_files_come_from_the_lora_folders(pocket: SimpleNamespace) -> None:
    latents = grid(pocket, "file zibbo low = none | orbit_motion_low_noise.safetensors")[2]["samples"]
    halves = zibbo(applies_to="high_noise", find_twin=False)
    low = {"path": "orbit_motion_low_noise.safetensors", "applies_to": "low_noise"}
    assert torch.equal(latents[:1], alone(pocket, halves))
    assert torch.equal(latents[1:], alone(pocket, [*halves, low]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("", "columns: there is none (seed = 1 | 2 | 3). Say what differs between the columns."),
        ("sed = 1 | 2", "columns axis: unknown value 'sed'"),
        ("strength zibo = 0 | 1", "columns '0' stack: no LoRA is named 'zibo' (nearest: 'zibbo')"),
        ("file zibbo = none | ../secret.safetensors", "columns file: '../secret.safetensors' leaves the LoRA folders"),
        ("prompt = a cat | a dog", "clip: an axis of prompts needs what reads them. Connect a CLIP."),
        ("cfg = 1 | 2", "cell '2' LoraGrid: cfg 2 without a negative prompt."),
        ("seed = 1 | 2 | " + " | ".join(map(str, range(3, 60))), "grid: 59 cells (at most 48 unless more are wanted)"),
    ],
)
def test_mistakes_are_said_before_anything_is_sampled(
    pocket: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, columns: str, message: str
) -> None:
    monkeypatch.setattr(grid_cells, "walk", lambda *_, **__: pytest.fail("a cell was sampled"))
    with pytest.raises(LoraCoreError) as caught:
        grid(pocket, columns)
    assert str(caught.value).startswith(message)


def test_mistakes_in_the_axes_are_shown_at_the_node() -> None:
    assert LoraGrid.validate_inputs(columns="seed = 1 | 2", rows="") is True
    assert str(LoraGrid.validate_inputs(columns="seed = 1", rows="")).startswith("columns axis: seed has 1 value")


def test_an_interrupt_ends_the_grid(pocket: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise InterruptProcessingException

    monkeypatch.setattr(grid_cells.comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    with pytest.raises(InterruptProcessingException):
        grid(pocket, LOW)


def test_a_replaced_file_of_an_axis_is_seen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(tmp_path)])
    file, axis = tmp_path / "a.safetensors", "file zibbo = none | a.safetensors"
    file.write_bytes(b"1")
    before = LoraGrid.fingerprint_inputs(columns=axis, rows="")
    file.write_bytes(b"12")
    assert LoraGrid.fingerprint_inputs(columns=axis, rows="") != before
