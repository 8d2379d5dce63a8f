"""What a training leaves, in ComfyUI core alone: its loaders read the files whole, and merge what was trained."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import comfy.lora
import comfy.lora_convert
import comfy.model_management
import comfy.sd
import comfy.utils
import native
import pytest
import torch
from native import WIDE, predict, relative_error
from torch import Tensor
from wanloom.lora_core.deltas import Delta, Dora, Full, LoHa, LoKr, Lora
from wanloom.lora_core.experts import EXPERTS
from wanloom.lora_core.families.wan.spec import infer_wan_spec, shapes_of
from wanloom.lora_core.files.extract import extract_checkpoints
from wanloom.lora_core.files.write import write_lora
from wanloom.lora_core.training.facts import ExpertFacts, RunFacts
from wanloom.lora_core.training.output import write_pair, write_weights

as_in_a_node, host = native.as_in_a_node, native.host
FACTS = RunFacts(
    base="wan2.2-t2v-a14b",
    boundary=0.875,
    experts={
        "high_noise": ExpertFacts(num_steps=9, t_range=(0.875, 1.0)),
        "low_noise": ExpertFacts(num_steps=9, t_range=(0.0, 0.875)),
    },
    trigger="zibbo",
)


def lora(shape: tuple[int, ...]) -> Delta:
    return Lora(0.1 * torch.randn(4, shape[1]), 0.1 * torch.randn(shape[0], 4), None, 0.5)


def rslora(shape: tuple[int, ...]) -> Delta:
    return Lora(0.1 * torch.randn(4, shape[1]), 0.1 * torch.randn(shape[0], 4), None, 3 / 4**0.5)


def loha(shape: tuple[int, ...]) -> Delta:
    sides = ((shape[0], 4), (4, shape[1])) * 2
    return LoHa(*(0.3 * torch.randn(side) for side in sides), scale=0.5)


def lokr(shape: tuple[int, ...]) -> Delta:
    second = {"w2a": 0.3 * torch.randn(shape[0] // 4, 4), "w2b": 0.3 * torch.randn(4, shape[1] // 4)}
    return LoKr(w1=0.3 * torch.randn(4, 4), **second, scale=0.5)


def lokr_in_full(shape: tuple[int, ...]) -> Delta:
    return LoKr(w1=0.2 * torch.randn(4, 4), w2=0.1 * torch.randn(shape[0] // 4, shape[1] // 4), scale=0.5)


def full(shape: tuple[int, ...]) -> Delta:
    return Full(0.03 * torch.randn(shape))


KINDS = {make.__name__: make for make in (lora, rslora, loha, lokr, lokr_in_full, full)}


def made(make, seed: int) -> dict[str, Delta]:
    torch.manual_seed(seed)
    return {t: make(shape) for t, shape in shapes_of(WIDE).items() if len(shape) == 2 and t.startswith("blocks.")}


def merged_by_core(path: Path, keys: Mapping[str, str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that core computes from a file, as its LoRA loader does."""
    patches = comfy.lora.load_lora(comfy.lora_convert.convert_lora(comfy.utils.load_torch_file(str(path))), keys)
    found = {}
    for key, patch in patches.items():
        name = key.removeprefix("diffusion_model.")
        weights = [(1.0, patch, 1.0, None, None)]
        found[name] = comfy.lora.calculate_weight(weights, state[name].clone(), key, intermediate_dtype=torch.float32)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_core_merges_both_files_of_a_pair_to_what_was_trained(
    kind: str, tmp_path: Path, host: native.Host, caplog: pytest.LogCaptureFixture
) -> None:
    deltas = {expert: made(KINDS[kind], seed) for seed, expert in enumerate(EXPERTS)}
    paths = write_pair(deltas, tmp_path, "orbit", FACTS)
    state, keys = native.state_dict(WIDE), comfy.lora.model_lora_keys_unet(host.model(WIDE).model, {})
    for expert, path in paths.items():
        with caplog.at_level(logging.WARNING):
            found = merged_by_core(path, keys, state)
        assert set(found) == {f"{target}.weight" for target in deltas[expert]}
        for target, delta in deltas[expert].items():
            expected = state[f"{target}.weight"] + delta.dense()
            torch.testing.assert_close(found[f"{target}.weight"], expected, rtol=1e-5, atol=1e-6)
    assert [record.getMessage() for record in caplog.records if "not loaded" in record.getMessage()] == []


def test_a_dora_is_loaded_whole_and_divided_by_cores_own_norm(tmp_path: Path, host: native.Host) -> None:
    """Core takes the norm of the base where it was trained with that of the changed weight: near, and not the same."""
    torch.manual_seed(0)
    state = native.state_dict(WIDE)
    target = "blocks.0.self_attn.q"
    inner, base = lora((128, 128)), state[f"{target}.weight"]
    deltas = {target: Dora(inner, 1.1 * (base + inner.dense()).norm(dim=1))}
    paths = write_pair(dict.fromkeys(EXPERTS, deltas), tmp_path, "orbit", FACTS)
    keys = comfy.lora.model_lora_keys_unet(host.model(WIDE).model, {})
    found = merged_by_core(paths["high_noise"], keys, state)[f"{target}.weight"]
    changed = base + inner.dense()
    trained = 1.1 * changed
    torch.testing.assert_close(base + deltas[target].dense(base), trained)
    ratio = changed.norm(dim=1, keepdim=True) / base.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, trained * ratio)


def test_core_opens_whole_weights_and_finds_every_tensor(tmp_path: Path, host: native.Host) -> None:
    tuned = {name: tensor + 0.05 * torch.randn_like(tensor) for name, tensor in native.state_dict(WIDE).items()}
    spec = infer_wan_spec({name: tuple(tensor.shape) for name, tensor in tuned.items()}, num_experts=2)
    header = {"config": json.dumps({"transformer": {"num_heads": 2, "text_dim": WIDE.text_width}})}
    states = {expert: lambda: tuned for expert in EXPERTS}
    paths = write_weights(states, tmp_path, "tuned", FACTS, spec=spec, header=header)
    model = host.open(paths["low_noise"])
    found = model.model.diffusion_model.state_dict()
    assert set(found) == set(tuned)
    assert all(torch.equal(found[name], tensor) for name, tensor in tuned.items())


def test_core_turns_the_base_into_the_other_checkpoint_by_an_extracted_lora(tmp_path: Path, host: native.Host) -> None:
    """At a rank that holds the whole change, biases, norms and tables aside."""
    paths = [native.save_model(tmp_path / f"{seed}.safetensors", WIDE, seed) for seed in (0, 1)]
    done = extract_checkpoints(*paths, 128)
    written = write_lora(done.weights, tmp_path / "lora.safetensors")
    base = host.open(paths[0])
    patched = comfy.sd.load_lora_for_models(base, None, comfy.utils.load_torch_file(str(written)), 1.0, 0)[0]
    mixed = native.state_dict(WIDE, 0) | {
        f"{target}.weight": native.state_dict(WIDE, 1)[f"{target}.weight"] for target in done.weights.deltas
    }
    expected = predict(host.open(native.save_state(mixed, tmp_path / "mixed.safetensors")))
    assert relative_error(predict(base), expected) > 0.1
    assert relative_error(predict(patched), expected) < 1e-4
