"""PEFT as the judge: adapters that it saves are read to exactly the weights that it merges."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from lora_core.deltas import Dora
from lora_core.families.registry import spec_of_module
from lora_core.files.read import read_lora
from lora_core.files.write import write_lora

peft = pytest.importorskip("peft")

# PEFT warns of its own lora_B.bias when it saves it.
pytestmark = pytest.mark.filterwarnings("ignore:Adapter 'default'")

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "linear_1", "time_proj", "proj_out"]
ONE_BLOCK = "blocks.1.attn1.to_q"

CONFIGS = {
    "lora": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, init_lora_weights=False),
    "lora with bias": lambda: peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q"], init_lora_weights=False, lora_bias=True
    ),
    "rslora": lambda: peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=TARGETS, init_lora_weights=False, use_rslora=True
    ),
    "patterns": lambda: peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=TARGETS,
        init_lora_weights=False,
        rank_pattern={"to_k": 2, "blocks.1.attn1.to_q": 8},
        alpha_pattern={"to_v": 3, "^blocks.0.attn2.to_k$": 1},
    ),
    "dora": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, init_lora_weights=False, use_dora=True),
    "convolution": lambda: peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["patch_embedding"], init_lora_weights=False
    ),
    "loha": lambda: peft.LoHaConfig(r=4, alpha=6, target_modules=TARGETS, init_weights=False),
    "lokr": lambda: peft.LoKrConfig(r=4, alpha=6, target_modules=TARGETS, init_weights=False),
    "lokr, both halves": lambda: peft.LoKrConfig(
        r=2, alpha=6, target_modules=TARGETS, init_weights=False, decompose_both=True
    ),
    "lokr in full": lambda: peft.LoKrConfig(r=64, alpha=6, target_modules=TARGETS, init_weights=False),
}


def fresh() -> nn.Module:
    module = tiny.transformer()
    copy = type(module).from_config(module.config)
    copy.load_state_dict(module.state_dict())
    return copy


@pytest.fixture(params=CONFIGS)
def saved(request: pytest.FixtureRequest, tmp_path: Path):
    """Return (the folder PEFT saved an adapter to, the base's state, the merged state)."""
    base = fresh()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    torch.manual_seed(3)
    model = peft.get_peft_model(base, CONFIGS[request.param]())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1.5)
            elif name.endswith("lora_B.default.bias"):
                parameter.normal_()
    model.save_pretrained(tmp_path)
    return tmp_path, before, model.merge_and_unload().state_dict()


def assert_merges_alike(path: Path, before: dict, after: dict) -> None:
    module = tiny.transformer()
    spec = spec_of_module(module)
    deltas = read_lora(path, spec=spec).deltas
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    seen = set()
    for target, delta in deltas.items():
        owner, parameter = spec.parameter_path(target, module)
        name = f"{owner}.{parameter}" if owner else parameter
        expected = after[name] - before[name]
        torch.testing.assert_close(delta.dense(before[name]), expected, rtol=1e-4, atol=2e-6)
        seen.add(name)
    assert seen >= changed


def test_adapters_that_peft_saved_read_to_what_it_merges(saved) -> None:
    folder, before, after = saved
    assert_merges_alike(folder / "adapter_model.safetensors", before, after)


def test_what_is_written_in_any_dialect_still_merges_alike(saved) -> None:
    folder, before, after = saved
    weights = read_lora(folder / "adapter_model.safetensors", spec=spec_of_module(tiny.transformer()))
    assert_merges_alike(write_lora(weights, folder / "out" / "style.safetensors"), before, after)
    assert_merges_alike(write_lora(weights, folder / "out" / "kohya.safetensors", dialect="kohya"), before, after)


@pytest.mark.parametrize("name", ["lora", "lora with bias", "rslora", "patterns", "dora", "convolution", "loha"])
def test_peft_loads_the_peft_dialect(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = peft.get_peft_model(fresh(), CONFIGS[name]())
    model.save_pretrained(tmp_path / "first")
    expected = model.merge_and_unload().state_dict()
    weights = read_lora(tmp_path / "first" / "adapter_model.safetensors", spec=spec_of_module(tiny.transformer()))
    assert any(isinstance(delta, Dora) for delta in weights.deltas.values()) == (name == "dora")
    write_lora(weights, tmp_path / "second" / "adapter_model.safetensors", dialect="peft")
    merged = peft.PeftModel.from_pretrained(fresh(), tmp_path / "second").merge_and_unload().state_dict()
    for key, value in expected.items():
        torch.testing.assert_close(merged[key], value, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["lora", "lora with bias", "rslora", "patterns", "dora"])
def test_diffusers_loads_the_diffusers_dialect(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = peft.get_peft_model(fresh(), CONFIGS[name]())
    model.save_pretrained(tmp_path)
    expected = model.merge_and_unload().state_dict()
    weights = read_lora(tmp_path / "adapter_model.safetensors", spec=spec_of_module(tiny.transformer()))
    path = write_lora(weights, tmp_path / "diffusers" / "style.safetensors", dialect="diffusers")
    module = fresh()
    module.load_lora_adapter(str(path.parent), weight_name=path.name, prefix="transformer", use_safetensors=True)
    module.fuse_lora()
    module.unload_lora()
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=2e-6)
