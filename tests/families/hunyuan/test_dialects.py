"""HunyuanVideo's LoRA files: split or fused, under whatever names, they are read to one change of either network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from spellings import AB, DEFAULT, DOWN_UP, Spelling, flat, float_alpha, int_alpha, save, spelled
from tiny_hunyuan import SIZE, original_state, transformer
from torch import Tensor

from lora_core.deltas import Lora
from lora_core.errors import LoraFileError, LoraMismatchError, UnsupportedLoraError
from lora_core.families.base import ModelSpec
from lora_core.families.hunyuan.names import aliases, fused, module_to_diffusers
from lora_core.families.hunyuan.spec import hunyuan_spec, infer_hunyuan_spec, shapes_of
from lora_core.families.wan.spec import wan_spec
from lora_core.files.dialects import WriteDialect
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora
from lora_core.files.weights import LoraWeights
from lora_core.files.write import write_lora

Pairs = Mapping[str, tuple[Tensor, Tensor]]


def spec_of(*, are_fused: bool) -> ModelSpec:
    shapes = shapes_of(SIZE, are_fused=are_fused)
    return infer_hunyuan_spec({t if t.endswith(".bias") else f"{t}.weight": shape for t, shape in shapes.items()})


#: The network of diffusers, and ComfyUI's.
SPLIT, FUSED = spec_of(are_fused=False), spec_of(are_fused=True)
D, MLP = SIZE.width, SIZE.mlp_width
#: Native target -> (outputs, inputs): every kind of linear layer, fused and not.
TARGETS: Mapping[str, tuple[int, int]] = {
    "double_blocks.0.img_attn.qkv": (3 * D, D),
    "double_blocks.1.txt_attn.qkv": (3 * D, D),
    "double_blocks.0.img_attn.proj": (D, D),
    "double_blocks.0.txt_mlp.0": (MLP, D),
    "double_blocks.1.img_mod.lin": (6 * D, D),
    "single_blocks.1.linear1": (3 * D + MLP, D),
    "single_blocks.0.linear2": (D, D + MLP),
    "single_blocks.0.modulation.lin": (3 * D, D),
    "txt_in.individual_token_refiner.blocks.1.self_attn.qkv": (3 * D, D),
    "final_layer.adaLN_modulation.1": (2 * D, D),
    "time_in.in_layer": (D, 256),
}
_ROOTS = {name.split(".")[0] for name in original_state(transformer())}
_ORIGINAL = {native: theirs for theirs, native in aliases().items() if theirs.split(".")[0] in _ROOTS}


def original(path: str) -> str:
    return _ORIGINAL.get(path, path)


def flat_original(path: str) -> str:
    return flat(original(path))


def native(path: str) -> str:
    return path


def flat_diffusers(path: str) -> str:
    return flat(module_to_diffusers(path))


#: Files of the fused network, and of diffusers' with its parts.
WHOLE: Mapping[str, Spelling] = {
    "authors, bare": Spelling("", original, AB),
    "FastHunyuan": Spelling("transformer.", original, AB),
    "diffusion-pipe": Spelling("diffusion_model.", original, AB),
    "ComfyUI": Spelling("diffusion_model.", native, DOWN_UP, float_alpha),
    "ComfyUI without alpha": Spelling("diffusion_model.", native, AB),
    "musubi-tuner": Spelling("lora_unet_", flat_original, DOWN_UP, float_alpha),
    "kohya, native": Spelling("lora_unet_", flat, DOWN_UP, int_alpha),
    "peft on the authors' network": Spelling("base_model.model.", original, DEFAULT),
    "lycoris": Spelling("lycoris_", flat, DOWN_UP, float_alpha),
}
PARTS: Mapping[str, Spelling] = {
    "diffusers, finetrainers": Spelling("transformer.", module_to_diffusers, AB),
    "peft": Spelling("base_model.model.", module_to_diffusers, AB),
    "OneTrainer": Spelling("lora_transformer_", flat_diffusers, DOWN_UP, float_alpha),
    "kohya with diffusers names": Spelling("lora_unet_", flat_diffusers, DOWN_UP, int_alpha),
}


def pairs_of(rank: int = 4) -> Pairs:
    generator = torch.Generator().manual_seed(0)
    return {
        target: (torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator))
        for target, (outputs, inputs) in TARGETS.items()
    }


def in_parts(pairs: Pairs) -> Pairs:
    """Return the same changes for diffusers' network, as its own converter means to: `down` for every part."""
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for target, (down, up) in pairs.items():
        if target == "final_layer.adaLN_modulation.1":
            shift, scale = up.chunk(2)
            parts["final_layer.scale_shift"] = (down, torch.cat([scale, shift]))
            continue
        names = fused().get(target, (target,))
        sizes = [SPLIT.shapes[name][0] for name in names]
        parts |= {name: (down, part) for name, part in zip(names, up.split(sizes), strict=True)}
    return parts


def dense(weights: LoraWeights) -> dict[str, Tensor]:
    return {target: delta.dense() for target, delta in weights.deltas.items()}


def assert_changes(weights: LoraWeights, expected: Pairs, scale: float) -> None:
    assert set(weights.deltas) == set(expected)
    assert weights.account.count("applied") == len(weights.account)
    for target, (down, up) in expected.items():
        torch.testing.assert_close(weights.deltas[target].dense(), scale * up @ down, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*WHOLE, *PARTS])
def test_every_dialect_reads_to_the_same_change_of_both_networks(name: str, tmp_path: Path) -> None:
    whole = pairs_of()
    given = whole if name in WHOLE else in_parts(whole)
    path = save(tmp_path / "style.safetensors", spelled((WHOLE | PARTS)[name], given, alpha=2.0))
    assert_changes(read_lora(path, spec=SPLIT), in_parts(whole), 0.5)
    assert_changes(read_lora(path, spec=FUSED), whole, 0.5)


def test_without_a_model_fused_modules_are_read_in_their_parts(tmp_path: Path) -> None:
    path = save(tmp_path / "style.safetensors", spelled(WHOLE["musubi-tuner"], pairs_of(), alpha=2.0))
    assert_changes(read_lora(path), in_parts(pairs_of()), 0.5)


def test_rank_and_alpha_of_a_fused_module_count_once(tmp_path: Path) -> None:
    path = save(tmp_path / "style.safetensors", spelled(WHOLE["musubi-tuner"], pairs_of(rank=4), alpha=1.0))
    for spec in (SPLIT, FUSED):
        weights = read_lora(path, spec=spec)
        assert weights.ranks == (4,)
        assert {delta.scale for delta in weights.deltas.values()} == {0.25}


def test_parts_with_factors_of_their_own_become_one_change_of_their_common_rank(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    parts = {
        f"double_blocks.0.img_attn.{part}": (torch.randn(2, D, generator=generator), torch.randn(D, 2)) for part in "qv"
    }
    path = save(tmp_path / "x.safetensors", spelled(PARTS["OneTrainer"], parts, alpha=2.0))
    ((target, delta),) = read_lora(path, spec=FUSED).deltas.items()
    (q, v) = (up @ down for down, up in parts.values())
    assert target == "double_blocks.0.img_attn.qkv"
    assert isinstance(delta, Lora)
    assert delta.rank == 4
    torch.testing.assert_close(delta.dense(), torch.cat([q, torch.zeros(D, D), v]), rtol=1e-5, atol=1e-5)


def _dora(base: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    down, up, magnitude = torch.randn(2, D), torch.randn(D, 2), torch.rand(D) + 1
    changed = base + up @ down
    wanted = magnitude[:, None] * changed / changed.norm(dim=1, keepdim=True) - base
    return {"lora_A.weight": down, "lora_B.weight": up, "lora_magnitude_vector": magnitude}, wanted


def test_a_dora_of_a_part_acts_on_its_own_rows(tmp_path: Path) -> None:
    torch.manual_seed(3)
    base = torch.randn(3 * D, D)
    tensors, wanted = _dora(base[D : 2 * D])
    stem = "transformer.transformer_blocks.0.attn.to_k"
    path = save(tmp_path / "x.safetensors", {f"{stem}.{leaf}": tensor for leaf, tensor in tensors.items()})
    delta = read_lora(path, spec=FUSED).deltas["double_blocks.0.img_attn.qkv"]
    none = torch.zeros(D, D)
    torch.testing.assert_close(delta.dense(base), torch.cat([none, wanted, none]))


@pytest.mark.parametrize("dialect", ["comfyui", "kohya", "diffusers", "peft"])
@pytest.mark.parametrize("spec", [SPLIT, FUSED], ids=["split", "fused"])
def test_what_is_written_in_any_dialect_is_the_same_change(
    dialect: WriteDialect, spec: ModelSpec, tmp_path: Path
) -> None:
    path = save(tmp_path / "in.safetensors", spelled(PARTS["OneTrainer"], in_parts(pairs_of()), alpha=2.0))
    whole = read_lora(path, spec=spec)
    written = write_lora(whole, tmp_path / "out" / "adapter_model.safetensors", dialect=dialect)
    back, again = dense(read_lora(written, spec=spec)), dense(whole)
    assert back.keys() == again.keys()
    for target, change in again.items():
        torch.testing.assert_close(back[target], change, rtol=1e-5, atol=1e-5)


def test_a_fused_lora_that_was_split_is_written_as_the_fused_one_it_was(tmp_path: Path) -> None:
    path = save(tmp_path / "in.safetensors", spelled(WHOLE["musubi-tuner"], pairs_of(), alpha=2.0))
    written = write_lora(read_lora(path, spec=SPLIT), tmp_path / "out.safetensors", dialect="comfyui")
    whole = read_lora(written, spec=FUSED)
    assert whole.ranks == (4,)
    assert_changes(whole, pairs_of(), 0.5)


def test_the_single_blocks_part_of_a_dora_cannot_be_written_fused(tmp_path: Path) -> None:
    tensors, _ = _dora(torch.zeros(D, D))
    stem = "transformer.single_transformer_blocks.0.attn.to_k"
    path = save(tmp_path / "x.safetensors", {f"{stem}.{leaf}": tensor for leaf, tensor in tensors.items()})
    with pytest.raises(UnsupportedLoraError, match="a DoRA of a part of a module that this dialect has in one"):
        write_lora(read_lora(path, spec=SPLIT), tmp_path / "out.safetensors", dialect="comfyui")


def test_a_module_given_fused_and_in_part_is_given_twice(tmp_path: Path) -> None:
    tensors = {
        "double_blocks.0.img_attn_qkv.diff": torch.ones(3 * D, D),
        "transformer_blocks.0.attn.to_k.diff": torch.ones(D, D),
    }
    for spec in (SPLIT, FUSED):
        with pytest.raises(LoraFileError, match=r"1 target is given twice: double_blocks\.0\.img_attn\.k by "):
            read_lora(save(tmp_path / "x.safetensors", tensors), spec=spec)


def test_outputs_that_are_not_those_of_the_parts_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", {"single_blocks.0.linear1.diff": torch.ones(2 * D, D)})
    with pytest.raises(LoraFileError, match=r"linear1 \(its 64 outputs are not those of q and k and v and mlp\)"):
        read_lora(path)
    with pytest.raises(LoraMismatchError, match=rf"linear1 is {2 * D}x{D} in the file and {3 * D + MLP}x{D} in the mo"):
        read_lora(path, spec=SPLIT)


WAN, HUNYUAN = wan_spec("wan2.2-t2v-a14b"), hunyuan_spec("hunyuan-video")


@pytest.mark.parametrize(
    ("module", "spec", "foreign"),
    [
        ("diffusion_model.blocks.0.self_attn.q", HUNYUAN, "Wan"),
        ("lora_unet_double_blocks_0_img_attn_qkv", WAN, "Flux or HunyuanVideo"),
        ("transformer.context_embedder.token_refiner.refiner_blocks.0.attn.to_q", WAN, "HunyuanVideo"),
    ],
)
def test_a_wan_lora_on_hunyuan_and_the_other_way_round_is_one_error_that_names_both(
    module: str, spec: ModelSpec, foreign: str, tmp_path: Path
) -> None:
    tensors = {f"{module}.lora_A.weight": torch.ones(2, 64), f"{module}.lora_B.weight": torch.ones(64, 2)}
    with pytest.raises(LoraMismatchError) as caught:
        read_lora(save(tmp_path / "x.safetensors", tensors), spec=spec)
    told = f"it looks like a LoRA for {foreign}; none of its 2 tensors applies to {spec.title}"
    assert caught.value.what.startswith(told)


def test_a_lora_of_hunyuan_15_is_told_as_one(tmp_path: Path) -> None:
    stem = "diffusion_model.double_blocks.0.img_attn.qkv"
    tensors = {f"{stem}.lora_A.weight": torch.ones(1, 2048), f"{stem}.lora_B.weight": torch.ones(6144, 1)}
    report = inspect_lora(save(tmp_path / "x.safetensors", tensors), spec=HUNYUAN)
    assert report.faults[0].startswith(
        "this is a HunyuanVideo 1.5 LoRA (width 2048) and the model is HunyuanVideo (width 3072)"
    )


def test_only_what_flux_lacks_tells_the_base(tmp_path: Path) -> None:
    def base(block: str) -> str | None:
        stem = f"lora_unet_{block}_linear2"
        tensors = {f"{stem}.lora_down.weight": torch.ones(1, 15360), f"{stem}.lora_up.weight": torch.ones(3072, 1)}
        return read_lora(save(tmp_path / "x.safetensors", tensors), spec=HUNYUAN).base

    assert base("single_blocks_3") == "Flux or HunyuanVideo"
    assert base("single_blocks_39") == "hunyuan-video"
