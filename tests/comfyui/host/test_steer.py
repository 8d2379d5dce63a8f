"""A small model that steers a large one in ComfyUI's own sampling: Delta Sampling's identities, memory and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import comfy.model_management
import folder_paths
import native
import pytest
import torch
from native import relative_error
from safetensors.torch import save_file
from sampling import NEGATIVE, POSITIVE, Latent, empty, ours, prompt, video
from wanloom.lora_core import LoraCoreError, LoraStack, RequestError
from wanloom.lora_core.families.wan.spec import WanSize
from wanloom.nodes.load import SplitWanModel, paired
from wanloom.nodes.sockets import WanModelHandle
from wanloom.nodes.stack_on_model import with_more
from wanloom.nodes.steer import SteerByModel

as_in_a_node = native.as_in_a_node

SMALL = WanSize(width=64, ffn_width=64, num_blocks=1, text_width=native.WIDE.text_width)
EXACT = 2e-6


def lora(folder: Path, size: WanSize, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    shapes = {"self_attn.q": (size.width, size.width), "ffn.0": (size.ffn_width, size.width), "norm3": None}
    for target, shape in shapes.items():
        name = f"diffusion_model.blocks.0.{target}"
        if shape is None:
            tensors[f"{name}.diff"] = 0.3 * torch.randn(size.width, generator=generator)
            continue
        tensors[f"{name}.lora_down.weight"] = 0.3 * torch.randn(4, shape[1], generator=generator)
        tensors[f"{name}.lora_up.weight"] = 0.3 * torch.randn(shape[0], 4, generator=generator)
    path = folder / f"lora_{size.width}_{seed}.safetensors"
    save_file(tensors, path)
    return path


class World:
    """A large pair, the same pair loaded again, a small pair, and a LoRA for each."""

    def __init__(self, folder: Path) -> None:
        self.host = native.Host(folder)
        self.large, self.same = self.pair(native.WIDE), self.pair(native.WIDE)
        self.small = self.pair(SMALL)
        loras = Path(folder_paths.get_folder_paths("loras")[0])
        self.large_lora, self.small_lora = lora(loras, native.WIDE), lora(loras, SMALL)

    def pair(self, size: WanSize) -> WanModelHandle:
        return paired(self.host.model(size, seed=0), self.host.model(size, seed=1), "test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("models"))


def dressed(model: WanModelHandle, path: Path) -> WanModelHandle:
    return model.with_loras(with_more(model, LoraStack().add(path, 0.7)))


def steered(model: WanModelHandle, guide: WanModelHandle, **options: object) -> WanModelHandle:
    given = {"strength": 1.0, "schedule": "", "above": "auto", "cfg": 0.0, **options}
    return SteerByModel.execute(model=model, guide=guide, **given).args[0]


def sampled(model: WanModelHandle, latent: Latent | None = None, **options: object) -> torch.Tensor:
    return ours(model, latent, negative=NEGATIVE, **options)[0]["samples"]


@pytest.mark.parametrize("cfg", [{}, {"cfg_high": 3.5, "cfg_low": 2.0}], ids=["cfg 1", "guided"])
@pytest.mark.parametrize("latent", [empty(), video()], ids=["empty", "video"])
def test_a_model_that_guides_itself_is_the_model_with_the_lora(world: World, latent: Latent, cfg: object) -> None:
    direct = sampled(dressed(world.large, world.large_lora), latent, **cfg)
    assert relative_error(sampled(world.large, latent, **cfg), direct) > 0.01
    found = sampled(steered(world.large, dressed(world.same, world.large_lora)), latent, **cfg)
    assert relative_error(found, direct) < EXACT * 20  # eight steps, each rounded


def test_strength_zero_is_bit_for_bit_the_large_model(world: World) -> None:
    guide = dressed(world.small, world.small_lora)
    plain = sampled(world.large)
    assert torch.equal(sampled(steered(world.large, guide, strength=0.0)), plain)
    changed = sampled(steered(world.large, guide))
    assert relative_error(changed, plain) > 1e-3
    assert torch.equal(sampled(world.large), plain)


def test_it_is_what_the_same_steering_gives_written_out(world: World) -> None:
    """x0_large + lambda (x0_guide with its LoRA - x0_guide), each expert at its own steps, by euler."""
    guide, strength = dressed(world.small, world.small_lora), 0.6
    model = steered(world.large, guide, strength=strength, schedule="fade_out")
    plan = model.plan(replace(model.settings, num_steps=8))
    found = sampled(model)
    x = sampled(world.large, end_at_step=1, return_with_leftover_noise="enable")  # only to have its shape
    x = comfy_noise(x)
    for step, factor in zip(plan.steps, plan.steering.strengths, strict=True):
        parts = (world.large, guide, world.small)
        x0, changed, base = (one_step(part, x, step.index) for part in parts)
        x0 = x0 + factor * (changed - base)
        x = x + (step.sigma_next - step.sigma) / step.sigma * (x - x0)
    assert relative_error(found, world.large.low_noise.model.process_latent_out(x)) < 1e-4


def comfy_noise(x: torch.Tensor) -> torch.Tensor:
    import comfy.sample
    from sampling import SEED

    return comfy.sample.prepare_noise(torch.zeros_like(x), SEED)


def one_step(model: WanModelHandle, x: torch.Tensor, index: int) -> torch.Tensor:
    """Return x0 at one step of the run of eight, as Sampler6Step predicts it from noisy latents."""
    step = model.plan(replace(model.settings, num_steps=8)).steps[index]
    raw = model.low_noise.model.process_latent_out(x / (1 - step.sigma)) if step.sigma < 1 else None
    if raw is None:  # pure noise: the noise of the seed
        return into(model, ours(model, end_at_step=1)[1]["samples"])
    part = {"start_at_step": index, "end_at_step": index + 1, "add_noise": "disable"}
    return into(model, ours(model, {"samples": raw}, **part)[1]["samples"])


def into(model: WanModelHandle, raw: torch.Tensor) -> torch.Tensor:
    return model.low_noise.model.process_latent_in(raw)


def test_the_guide_is_loaded_beside_the_large_model_and_leaves_nothing_behind(world: World) -> None:
    guide = dressed(world.small, world.small_lora)
    before = native.predict(world.small.low_noise)
    sampled(steered(world.large, guide))
    models = {id(loaded.model.model) for loaded in comfy.model_management.current_loaded_models if loaded.model}
    assert id(world.small.low_noise.model) in models
    assert id(world.large.low_noise.model) in models
    assert torch.equal(native.predict(world.small.low_noise), before)


def test_a_mask_keeps_what_it_keeps(world: World) -> None:
    mask = torch.zeros(1, 1, 2, 6, 4)
    mask[..., :3, :] = 1
    latent = video(noise_mask=mask)
    plain, found = (
        sampled(model, latent) for model in (world.large, steered(world.large, dressed(world.small, world.small_lora)))
    )
    kept = found[..., 3:, :] - video()["samples"][..., 3:, :]
    assert kept.abs().max() < 1e-5
    assert relative_error(found, plain) > 1e-3


def test_a_changed_strength_of_the_guide_binds_nothing_anew(world: World) -> None:
    guide = dressed(world.small, world.small_lora)
    first, again = (sampled(steered(world.large, guide, strength=value)) for value in (0.5, 0.5))
    assert torch.equal(first, again)
    assert not torch.equal(sampled(steered(world.large, guide, strength=0.6)), first)


def test_the_report_says_when_it_steers_and_what_it_costs(world: World) -> None:
    guide = dressed(world.small, world.small_lora)
    given = {"strength": 0.5, "schedule": "", "above": "0.9", "cfg": 0.0}
    report = SteerByModel.execute(model=world.large, guide=guide, **given).args[1]
    assert "runs twice at 3 of 6 steps" in report
    assert "lambda 0.5, 0.5, 0.5, 0, 0, 0" in report
    assert "lora_64_0" in report


def test_what_cannot_steer_is_refused(world: World, tmp_path: Path) -> None:
    guide = dressed(world.small, world.small_lora)
    narrow = paired(native.Host(tmp_path).model(native.NARROW), None, "test")
    twice = steered(world.large, guide)
    for call, what in (
        (lambda: steered(world.large, narrow), "width of embedded texts: 32 and 64"),
        (lambda: steered(world.large, dressed(world.large, world.large_lora)), "the guide is the model itself"),
        (lambda: steered(twice, guide), "a guide steers the model already"),
        (lambda: steered(world.same, twice), "steered by a guide of its own"),
        (lambda: steered(world.large, world.small), "no LoRA acts on it"),
        (lambda: SplitWanModel.execute(twice), "of which other samplers know nothing"),
    ):
        with pytest.raises(LoraCoreError, match=what):
            call()
    with pytest.raises(RequestError, match="the guide's cfg is not 1 and there is no negative prompt"):
        ours(steered(world.large, guide, cfg=3.0), positive=POSITIVE)
    assert SteerByModel.validate_inputs(above="2") != True  # noqa: E712  # a text says what is wrong
    assert SteerByModel.validate_inputs(schedule="sideways") != True  # noqa: E712
    assert SteerByModel.validate_inputs(schedule="", above="none") is True


def test_the_prompt_of_the_run_reaches_the_guide(world: World) -> None:
    model = steered(world.large, dressed(world.small, world.small_lora), strength=3.0)
    other = {"positive": prompt(9)}
    change = sampled(model) - sampled(world.large)
    assert relative_error(sampled(model, **other) - sampled(world.large, **other), change) > 0.05
