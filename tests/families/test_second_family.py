"""A second family, made up: all that is done with a Wan is done with it, and nothing outside its folder knows it."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from loading import planned, routed
from safetensors.torch import save_file
from toy.family import TOY, spec
from toy.network import ToyNetwork

from lora_core import (
    GenerationRequest,
    LoraMismatchError,
    LoraStack,
    LoraWeights,
    WanVideoGenerator,
    attach,
    draw_noise,
    generate,
    inspect_lora,
    load_stack,
    read_lora,
    route,
    sample,
    wan_spec,
    write_lora,
)
from lora_core.deltas import Full, Lora
from lora_core.families import registry
from lora_core.families.condition import Condition
from lora_core.files.plot import draw_deltas

SPEC = spec("toy-1")
ASK, TINT = "stack.0.mix.ask", "stack.1.tint"


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the registry its second row."""
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, TOY))


def network(seed: int = 0) -> ToyNetwork:
    torch.manual_seed(seed)
    return ToyNetwork().requires_grad_(False)


def lora(seed: int = 1) -> LoraWeights:
    torch.manual_seed(seed)
    deltas = {ASK: Lora(torch.randn(2, 8), torch.randn(8, 2)), TINT: Full(torch.randn(8))}
    return LoraWeights(None, "tint", deltas)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    file = tmp_path / "one.safetensors"
    save_file({f"toy.{name}": tensor for name, tensor in network().state_dict().items()}, file)
    return file


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("diffusion_model.stack.0.mix.ask.lora_{}.weight", "comfyui"),
        ("transformer.transformer_layers.0.attention.q.lora_{}.weight", "diffusers"),
        ("lora_unet_stack_0_mix_ask.lora_{}.weight", "kohya"),
        ("toybox.stack.0.mix.ask.lora_{}.weight", "toy"),
    ],
)
def test_its_files_are_read_in_every_spelling_with_and_without_a_model(tmp_path: Path, name: str, dialect: str) -> None:
    delta = lora().deltas[ASK]
    file = tmp_path / "a.safetensors"
    save_file({name.format("down"): delta.down, name.format("up"): delta.up}, file)
    for given in (SPEC, None, network()):
        weights = read_lora(file, spec=given)
        assert list(weights.deltas) == [ASK]
        assert torch.equal(weights.deltas[ASK].dense(), delta.dense())
        assert (weights.base, weights.dialect) == ("toy-1", dialect)


@pytest.mark.parametrize("dialect", ["comfyui", "kohya", "diffusers", "peft"])
def test_its_loras_are_written_in_its_own_and_in_others_spelling(tmp_path: Path, dialect: str) -> None:
    weights = LoraWeights(None, "a", {ASK: lora().deltas[ASK]})
    back = read_lora(write_lora(weights, tmp_path / "a.safetensors", dialect=dialect), spec=SPEC)
    torch.testing.assert_close(back.deltas[ASK].dense(), weights.deltas[ASK].dense())


def test_whose_lora_a_file_is_is_told_across_families(tmp_path: Path) -> None:
    file = write_lora(lora(), tmp_path / "a.safetensors")
    with pytest.raises(LoraMismatchError, match=r"it looks like a LoRA for Toy; none of its .* applies to Wan 2\.2"):
        read_lora(file, spec=wan_spec("wan2.2-t2v-a14b"))
    wide = LoraWeights(None, "a", {ASK: Lora(torch.ones(2, 16), torch.ones(16, 2))})
    with pytest.raises(LoraMismatchError, match=r"transformer of width 16 and the model is Toy One \(width 8\)"):
        read_lora(write_lora(wide, tmp_path / "b.safetensors"), spec=SPEC)
    report = inspect_lora(file)
    assert (report.faults, report.num_blocks, set(report.modules)) == ((), 2, {"mix.ask", "tint"})


def test_its_blocks_are_drawn_and_filtered() -> None:
    axes = draw_deltas([lora()]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mix.ask", "tint"]
    acting = routed(LoraStack().add(lora(), target_filter="0=0.5"), SPEC)
    assert acting.high_noise[0].factors == {ASK: 0.5, TINT: 1.0}


def test_it_is_recognised_by_name_by_module_and_by_file(checkpoint: Path) -> None:
    assert registry.spec_named("toy-1") is SPEC
    assert "toy-1" in registry.spec_names()
    assert registry.spec_of_module(network()).family == "toy"
    assert registry.spec_named(str(checkpoint)).title == "Toy One"
    assert registry.opener("pocket") is not registry.opener(checkpoint)


def test_its_stack_is_routed_filtered_and_planned() -> None:
    stack = LoraStack().add(lora(), 0.5, schedule="fade_out", target_filter="modulation=0")
    acting = routed(stack, SPEC)
    assert [list(half.deltas) for half in acting.all] == [[ASK], [ASK]]
    plan = planned(stack, SPEC, num_steps=4, shift=5.0)
    assert [step.expert for step in plan.steps] == ["high_noise"] * 2 + ["low_noise"] * 2
    assert [step.strengths[0] for step in plan.steps] == sorted(
        (step.strengths[0] for step in plan.steps), reverse=True
    )
    assert plan.steps[0].strengths == (0.5,)
    speed = LoraStack().add(LoraWeights(None, "speed", lora().deltas))
    shifts = [advice for advice in planned(speed, SPEC).advice if advice.rule == "shift-with-speed"]
    assert "distilled at shift 3" in shifts[0].text


def test_a_stack_on_it_computes_as_a_merge_would_and_leaves_no_trace() -> None:
    module, merged = network(), network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    merged.get_parameter(f"{ASK}.weight").add_(0.5 * lora().deltas[ASK].dense())
    merged.get_parameter(TINT).add_(0.5 * lora().deltas[TINT].dense())
    inputs = {"picture": torch.randn(1, 4, 2, 4, 6), "level": torch.tensor([0.7]), "words": torch.randn(1, 5, 6)}
    loaded = load_stack(LoraStack().add(lora(), 0.5), SPEC)
    with attach(module, route(loaded, SPEC).high_noise, SPEC):
        torch.testing.assert_close(module(**inputs), merged(**inputs))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_it_is_sampled_along_a_plan(checkpoint: Path) -> None:
    model = TOY.open(checkpoint)
    noise = draw_noise((1, 4, 2, 4, 6), 0)
    told = Condition(model.encode_text("a red ball"), model.encode_text(""))
    plain, dressed = (
        sample(model, planned(stack, model.spec, num_steps=3, cfg=2.0), noise, told)
        for stack in (LoraStack(), LoraStack().add(lora(), 1.0))
    )
    x = noise
    levels = planned(LoraStack(), model.spec, num_steps=3).sigmas
    for sigma, sigma_next in pairwise(levels):
        v, v_empty = (TOY.forward(network(), SPEC, x, sigma, text, told) for text in (told.positive, told.negative))
        x = x + (sigma_next - sigma) * (v_empty + 2.0 * (v - v_empty))
    torch.testing.assert_close(plain, 2 * x)
    assert not torch.allclose(plain, dressed)


def test_a_video_is_made_of_it_from_a_file_alone(checkpoint: Path, tmp_path: Path) -> None:
    file = write_lora(lora(), tmp_path / "tint.safetensors")
    generator = WanVideoGenerator(checkpoint)
    generator.load_specialized_lora(file)
    video = generator.generate_video("a red ball", num_steps=2)
    again = generate(TOY.open(checkpoint), GenerationRequest("a red ball", num_steps=2), LoraStack().add(file))
    assert video.frames.shape == (3, 16, 24, 3)
    assert video.fps == 8.0
    assert torch.equal(video.latents, again.latents)
    assert video.record["model"]["files"]["high"]["path"] == str(checkpoint)
