"""Stacks on native MODELs of any family: what core merges, unmerged, under every name that core reads."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.model_management
import comfy.samplers
import comfy.sd
import families
import folder_paths
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from families import FAMILIES, predict, tiny_clip, tiny_model
from native import relative_error
from torch import Tensor
from wanloom.lora_core import LoraMismatchError, StrengthSchedule, UnsupportedLoraError
from wanloom.nodes import bridge
from wanloom.nodes.bake import BakeLoraStack
from wanloom.nodes.bridge import network_of
from wanloom.nodes.native_spec import spec_of_model
from wanloom.nodes.stack_on_models import LoraStackOnModels

as_in_a_node = native.as_in_a_node
CLOSE = 1e-5
KINDS = lora_kinds.LAYERS | lora_kinds.OF_BASE | {"LoRA with mid": lora_kinds.lora_mid}
#: diffusers' names of Flux's stacked projections, whose rows core knows.
QKV = ("transformer.transformer_blocks.1.attn.to_k", "transformer.single_transformer_blocks.0.attn.to_v")


@pytest.fixture(autouse=True)
def loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the LoRA folder be the test's own."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def models() -> Mapping[str, ModelPatcher]:
    return {family: tiny_model(family) for family in FAMILIES}


@pytest.fixture
def model(models: Mapping[str, ModelPatcher], family: str) -> ModelPatcher:
    return models[family]


@pytest.fixture
def flux(models: Mapping[str, ModelPatcher]) -> ModelPatcher:
    return models["Flux"]


def layers(patcher: ModelPatcher) -> dict[str, tuple[int, ...]]:
    """Return the module path -> shape of the weight of every layer that multiplies."""
    weights = network_of(patcher).named_parameters()
    return {name.removesuffix(".weight"): tuple(p.shape) for name, p in weights if p.ndim > 1 and ".weight" in name}


def with_kinds(patcher: ModelPatcher, *kinds: str) -> dict[str, Tensor]:
    """Return the tensors of a file in core's own spelling whose layers take turns with the kinds that fit them."""
    torch.manual_seed(0)
    tensors: dict[str, Tensor] = {}
    turns = cycle(kinds)
    present = set(dict(network_of(patcher).named_parameters()))
    for path, shape in layers(patcher).items():
        made = next(found for kind in turns if (found := KINDS[kind](shape)) or len(kinds) == 1)
        kept = {leaf: t for leaf, t in made.items() if leaf != "diff_b" or f"{path}.bias" in present}
        tensors |= {f"diffusion_model.{path}.{leaf}": tensor for leaf, tensor in kept.items()}
    return tensors


def named(names: Mapping[str, tuple[int, ...]], seed: int = 3) -> dict[str, Tensor]:
    """Return a plain LoRA on modules of these names and shapes."""
    torch.manual_seed(seed)
    tensors = {}
    for name, shape in names.items():
        tensors[f"{name}.lora_down.weight"] = 0.2 * torch.randn(4, *shape[1:])
        tensors[f"{name}.lora_up.weight"] = 0.2 * torch.randn(shape[0], 4, *(1 for _ in shape[2:]))
    return tensors


def stacked(patcher: ModelPatcher, tensors: Mapping[str, Tensor], folder: Path, **row: Any) -> ModelPatcher:
    return outputs(patcher, tensors, folder, **row)[0]


def outputs(
    patcher: ModelPatcher, tensors: Mapping[str, Tensor], folder: Path, clip: Any = None, steps: int = 6, **row: Any
) -> tuple[Any, ...]:
    """Return the outputs of the node with one row of a file of these tensors."""
    path = lora_kinds.save(folder / "lora.safetensors", tensors)
    rows = json.dumps([{"path": str(path), **row}])
    return LoraStackOnModels.execute(patcher, rows, steps, clip=clip).args


def merged(patcher: ModelPatcher, tensors: Mapping[str, Tensor], strength: float = 1.0) -> ModelPatcher:
    return comfy.sd.load_lora_for_models(patcher, None, dict(tensors), strength, 0)[0]


def assert_is_what_core_merges(
    patcher: ModelPatcher, family: str, tensors: Mapping[str, Tensor], folder: Path, strength: float = 1.0
) -> None:
    expected, base = predict(merged(patcher, tensors, strength), family), predict(patcher, family)
    assert relative_error(expected, base) > 1e-3
    found = predict(stacked(patcher, tensors, folder, weight=strength), family)
    assert relative_error(found, expected) < CLOSE


def test_every_kind_in_one_file_is_what_core_merges(model: ModelPatcher, family: str, tmp_path: Path) -> None:
    assert_is_what_core_merges(model, family, with_kinds(model, *KINDS), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_is_what_core_merges(models: Mapping[str, ModelPatcher], tmp_path: Path, kind: str) -> None:
    family = "SD 1.5" if "mid" in kind else "Flux"
    strength = 1.0 if kind in lora_kinds.OF_BASE else 0.7
    assert_is_what_core_merges(models[family], family, with_kinds(models[family], kind), tmp_path, strength)


def test_an_orthogonal_change_goes_a_share_of_its_way_at_half_strength(flux: ModelPatcher, tmp_path: Path) -> None:
    """Core squares the strength of OFT and bends the way of BOFT: a schedule could not follow that."""
    half, whole = (stacked(flux, with_kinds(flux, "OFT"), tmp_path, weight=weight) for weight in (0.5, 1.0))
    key = "diffusion_model.double_blocks.0.img_attn.qkv.weight"
    base = network_of(flux).double_blocks[0].img_attn.qkv.weight
    moved = [patcher.weight_wrapper_patches[key][0](base.clone()) - base for patcher in (half, whole)]
    torch.testing.assert_close(2 * moved[0], moved[1], rtol=1e-4, atol=1e-5)


def test_differences_of_norms_are_what_core_merges(model: ModelPatcher, family: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    norms = {name: p for name, p in network_of(model).named_parameters() if "norm" in name and p.ndim == 1}
    weights = {name for name in norms if name.endswith(".weight")}
    tensors = {f"diffusion_model.{name[:-7]}.w_norm": 0.5 * torch.randn(norms[name].shape) for name in weights}
    biases = {name for name in norms if name.endswith(".bias") and name.replace(".bias", ".weight") in weights}
    tensors |= {f"diffusion_model.{name[:-5]}.b_norm": 0.5 * torch.randn(norms[name].shape) for name in biases}
    assert_is_what_core_merges(model, family, tensors, tmp_path, 0.8)


def test_every_name_that_core_has_for_a_layer_is_read(model: ModelPatcher, family: str, tmp_path: Path) -> None:
    """The i-th file calls every parameter, and every part of one, by the i-th of the names that core reads for it."""
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    state = model.model.state_dict()
    names: dict[Any, list[str]] = defaultdict(list)
    for name, entry in keys.items():
        key, *rows = (entry,) if isinstance(entry, str) else entry
        if family == "SD 1.5" and ".input_blocks.1." not in key:
            continue  # it has eight times as many names, which are alike in every block
        if key in state and state[key].ndim > 1 and key.endswith(".weight"):
            names[key, str(rows)].append(name)
    for i in range(max(map(len, names.values()))):
        file = {}
        for found in names.values():
            name = found[min(i, len(found) - 1)]
            key, *rows = (keys[name],) if isinstance(keys[name], str) else keys[name]
            num_rows = rows[0][2] if rows and rows[0] else state[key].shape[0]
            file[name] = (num_rows, *state[key].shape[1:])
        assert_is_what_core_merges(model, family, named(file), tmp_path, 0.6)


def test_parts_of_a_parameter_take_every_kind(flux: ModelPatcher, tmp_path: Path) -> None:
    for kind in ("LoHa", "LoKr", "GLoRA", "OFT", "diff and diff_b", "DoRA by input"):
        torch.manual_seed(4)
        made = {(name, leaf): tensor for name in QKV for leaf, tensor in KINDS[kind]((64, 64)).items()}
        tensors = {f"{name}.{leaf}": tensor for (name, leaf), tensor in made.items() if leaf != "diff_b"}
        assert_is_what_core_merges(flux, "Flux", tensors, tmp_path)


def test_the_bias_of_a_part_acts_where_core_drops_it(flux: ModelPatcher, tmp_path: Path) -> None:
    found = stacked(flux, {f"{QKV[0]}.diff": torch.zeros(64, 64), f"{QKV[0]}.diff_b": torch.ones(64)}, tmp_path)
    whole = torch.cat([torch.zeros(64), torch.ones(64), torch.zeros(64)])
    expected = merged(flux, {"diffusion_model.double_blocks.1.img_attn.qkv.diff_b": whole})
    assert relative_error(predict(found, "Flux"), predict(expected, "Flux")) < CLOSE


def test_a_filter_by_blocks_leaves_what_core_merges_of_these_blocks(
    model: ModelPatcher, family: str, tmp_path: Path
) -> None:
    tensors, spec = with_kinds(model, "LoRA"), spec_of_model(model, num_experts=1, where="test")
    assert spec.num_blocks > 1
    blocks = {path: spec.block_of(path) for path in layers(model)}
    last = {path for path, block in blocks.items() if block is not None and block[0] == spec.num_blocks - 1}
    assert 0 < len(last) < len(blocks)
    of_last = {name: tensor for name, tensor in tensors.items() if any(f".{path}.lo" in name for path in last)}
    of_last |= {name: tensor for name, tensor in tensors.items() if any(f".{path}.al" in name for path in last)}
    expected = predict(merged(model, of_last, 0.7), family)
    row = {"weight": 0.7, "targets": f"{spec.num_blocks - 1}=1,otherwise=0"}
    assert relative_error(expected, predict(model, family)) > 1e-3
    assert relative_error(predict(stacked(model, tensors, tmp_path, **row), family), expected) < CLOSE


def test_the_base_is_bit_for_bit_what_it_was(model: ModelPatcher, family: str, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in network_of(model).state_dict().items()}
    first = predict(model, family)
    assert not torch.equal(predict(stacked(model, with_kinds(model, *KINDS), tmp_path), family), first)
    native.unload()
    assert all(torch.equal(before[name], tensor) for name, tensor in network_of(model).state_dict().items())
    assert torch.equal(predict(model, family), first)


@pytest.mark.parametrize("family", ["Flux", "SD 1.5"])
def test_a_schedule_gives_the_run_of_weights_changed_in_float64(family: str, tmp_path: Path) -> None:
    """The levels of a schedule are those of a flow: of a model that adds noise to a picture sigma / (1 + sigma)."""
    model, reference = tiny_model(family), tiny_model(family)
    tensors = with_kinds(model, "LoRA")
    schedule = StrengthSchedule.parse("keyframes:0.95=0.1,0.6=1.2,0.2=0.4")
    sigmas = (0.95, 0.7, 0.5, 0.2) if family == "Flux" else (14.0, 3.0, 0.9, 0.3)
    patcher = stacked(model, tensors, tmp_path, weight=0.8, schedule=str(schedule))
    base = {name: tensor.double() for name, tensor in network_of(model).state_dict().items()}
    found, expected = families.start(family), families.start(family).double()
    for sigma, sigma_next in pairwise(sigmas):
        level = sigma if family == "Flux" else sigma / (1 + sigma)
        state = dict(base)
        for path in layers(model):
            up, down = (tensors[f"diffusion_model.{path}.lora_{half}.weight"].double() for half in ("up", "down"))
            product = 0.5 * (up.flatten(1) @ down.flatten(1)).reshape(base[f"{path}.weight"].shape)
            state[f"{path}.weight"] = base[f"{path}.weight"] + 0.8 * schedule(level) * product
        network_of(reference).load_state_dict({name: tensor.float() for name, tensor in state.items()})
        x0 = predict(reference, family, sigma, expected.float()).double()
        expected = x0 + (sigma_next / sigma) * (expected - x0)
        x0 = predict(patcher, family, sigma, found)
        found = x0 + (sigma_next / sigma) * (found - x0)
    assert relative_error(found, expected) < CLOSE


@pytest.mark.parametrize(("steps", "strengths"), [(4, [1.0, 1.0, 0.0, 0.0]), (8, [1.0, 0.0])])
def test_a_schedule_by_steps_counts_those_of_the_run(
    models: Mapping[str, ModelPatcher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    strengths: list[float],
) -> None:
    """Said to have as many steps as it has, a run counts its own; a part of a longer one counts those of the whole."""
    model, calls = models["Qwen-Image"], []
    call = bridge.AtWork.__call__

    def recorded(self: bridge.AtWork, *args: Any, **kwargs: Any) -> Tensor:
        result = call(self, *args, **kwargs)
        calls.append(self.stack.strengths.values[0])
        return result

    monkeypatch.setattr(bridge.AtWork, "__call__", recorded)
    row = {"weight": 1.0, "schedule": "hold@steps:0=1,0.5=0"}
    patcher = stacked(model, with_kinds(model, "LoRA"), tmp_path, steps=steps, **row)
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "beta" if steps == 4 else "simple", steps)
    if steps == 8:
        sigmas = torch.stack([sigmas[3], sigmas[4], sigmas[8]])
    prompt = [[families.random("text", 1, 5, 32), {}]]
    guider = comfy.samplers.CFGGuider(patcher)
    guider.inner_set_conds({"positive": prompt})
    start = families.start("Qwen-Image")
    guider.sample(start, start, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True)
    assert calls == strengths


def test_bake_merges_on_any_model(flux: ModelPatcher, tmp_path: Path) -> None:
    tensors = named({QKV[0]: (64, 64), "diffusion_model.img_in": (64, 64)})
    bound, _, _, stack, *_ = outputs(flux, tensors, tmp_path, weight=0.7)
    expected = predict(merged(flux, tensors, 0.7), "Flux")
    for baked in (BakeLoraStack.execute(bound), BakeLoraStack.execute(flux, stack)):
        assert relative_error(predict(baked.args[1], "Flux"), expected) < CLOSE


TE = "lora_te1_text_model_encoder_layers_{}_mlp_fc1"


def embedded(clip: comfy.sd.CLIP) -> Tensor:
    comfy.model_management.load_models_gpu([clip.patcher])
    tokens = [(49406, 1.0), (320, 1.0), (1125, 1.0), *[(49407, 1.0)] * 74]
    return clip.cond_stage_model.encode_token_weights({"l": [tokens]})[0]


def test_parts_of_the_text_encoder_act_on_the_clip_as_cores_do(flux: ModelPatcher, tmp_path: Path) -> None:
    clip = tiny_clip()
    tensors = named({TE.format(0): (128, 64), TE.format(1): (128, 64), "diffusion_model.img_in": (64, 64)})
    model, _, report, _, _, changed = outputs(
        flux, tensors, tmp_path, clip, weight=0.7, schedule="constant:0.9", targets="0-9=0.5,otherwise=1"
    )
    before = {name: tensor.clone() for name, tensor in clip.cond_stage_model.state_dict().items()}
    expected = comfy.sd.load_lora_for_models(flux, clip, dict(tensors), 0.7 * 0.9, 0.7)
    assert relative_error(embedded(expected[1]), embedded(clip)) > 0.01
    assert relative_error(embedded(changed), embedded(expected[1])) < CLOSE
    assert relative_error(predict(model, "Flux"), predict(expected[0], "Flux")) < CLOSE
    assert "6 tensors: 6 applied" in report
    assert "note: lora: its part on the text encoder acts with 0.7; texts have no noise level to follow" in report
    native.unload()
    assert all(torch.equal(before[name], tensor) for name, tensor in clip.cond_stage_model.state_dict().items())


def test_without_a_clip_its_parts_are_named(flux: ModelPatcher, tmp_path: Path) -> None:
    tensors = named({TE.format(0): (128, 64), "diffusion_model.img_in": (64, 64)})
    *_, report, _, _, none = outputs(flux, tensors, tmp_path)
    assert "4 tensors: 2 applied, 2 not applicable" in report
    assert "note: lora: 2 tensors are a text encoder's. Connect a CLIP to apply them" in report
    assert not hasattr(none, "patcher")


def test_the_report_says_no_word_of_wan_or_of_experts(model: ModelPatcher, family: str, tmp_path: Path) -> None:
    """A name with "high" in it is no half of a pair, and has no twin."""
    tensors = with_kinds(model, "LoRA")
    for name in ("style_high.safetensors", "style_low.safetensors"):
        lora_kinds.save(tmp_path / name, tensors)
    rows = json.dumps([{"path": "style_high.safetensors", "weight": 5.0}])
    report = str(LoraStackOnModels.execute(model, rows, 6).args[2])
    assert "style_high.safetensors: strength 5; rank 4" in report
    assert "strength 5; a style LoRA is usually used from 0.3 to 1.2" in report
    assert not any(word in report for word in ("Wan", "wan", "expert", "noise"))


FOREIGN = {
    "Wan": ({"diffusion_model.blocks.0.self_attn.q": (64, 64), "diffusion_model.blocks.0.ffn.0": (64, 64)}, "Wan"),
    "LTX": ({"diffusion_model.transformer_blocks.0.attn1.to_q": (64, 64)}, "Cosmos, LTX-Video, CogVideoX or PixArt"),
}


@pytest.mark.parametrize("whose", FOREIGN)
def test_a_lora_of_another_model_is_refused_with_its_name(flux: ModelPatcher, tmp_path: Path, whose: str) -> None:
    names, title = FOREIGN[whose]
    with pytest.raises(LoraMismatchError) as caught:
        stacked(flux, named(names), tmp_path)
    count = 2 * len(names)
    assert f"it looks like a LoRA for {title}; none of its {count} tensors applies to Flux" in str(caught.value)
    assert str(caught.value).endswith("Choose a LoRA made for Flux.")


def test_a_control_lora_is_refused_by_its_name(flux: ModelPatcher, tmp_path: Path) -> None:
    """It widens the input, which core does by another weight than the model has."""
    names = {"img_in": (64, 128), "double_blocks.0.img_attn.qkv": (192, 64)}
    tensors = {name.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): t for name, t in named(names).items()}
    tensors["single_blocks.0.norm.key_norm.scale"] = torch.ones(32)
    with pytest.raises(UnsupportedLoraError, match=r"control LoRA \(it reshapes a layer\), by img_in\.lora_A\.weight"):
        stacked(flux, tensors, tmp_path)


def test_a_lora_of_another_size_is_refused_with_both_shapes(flux: ModelPatcher, tmp_path: Path) -> None:
    with pytest.raises(LoraMismatchError, match="img_in is 96x64 in the file and 64x64 in the model"):
        stacked(flux, named({"diffusion_model.img_in": (96, 64)}), tmp_path)
