"""Kinds: every kind of delta that files hold is read to its definition, and what is not supported is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spellings import save
from torch import Tensor

from lora_core.deltas import Dora, LoHa, LoKr, Lora
from lora_core.errors import LoraFileError, UnsupportedLoraError
from lora_core.families.wan.spec import wan_spec
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora

POCKET = wan_spec("wan-pocket")
Q = "blocks.0.self_attn.q"
FFN = "blocks.0.ffn.0"  # (512, 128)
PATCH = "patch_embedding"  # (128, 16, 1, 2, 2)


def r(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def read(tmp_path: Path, target: str, tensors: dict[str, Tensor]):
    path = save(tmp_path / "x.safetensors", {f"diffusion_model.{target}.{leaf}": t for leaf, t in tensors.items()})
    weights = read_lora(path, spec=POCKET)
    assert list(weights.deltas) == [target]
    return weights.deltas[target]


def close(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-4)


def test_loha_is_the_product_of_two_products(tmp_path: Path) -> None:
    a1, b1, a2, b2 = r(512, 3), r(3, 128), r(512, 3) + 1, r(3, 128) - 1
    parts = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": torch.tensor(6)}
    delta = read(tmp_path, FFN, parts)
    assert isinstance(delta, LoHa)
    assert delta.rank == 3
    close(delta.dense(), 2.0 * (a1 @ b1) * (a2 @ b2))


def test_loha_of_a_convolution_takes_the_models_shape(tmp_path: Path) -> None:
    a, b = r(128, 2), r(2, 64)
    delta = read(tmp_path, PATCH, {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": a, "hada_w2_b": b})
    assert delta.shape == (128, 16, 1, 2, 2)
    close(delta.dense(), ((a @ b) ** 2).reshape(128, 16, 1, 2, 2))


def test_loha_with_tucker_cores(tmp_path: Path) -> None:
    t1, t2, a, b = r(2, 2, 1, 2, 2), r(2, 2, 1, 2, 2) + 1, r(2, 128), r(2, 16)
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": a, "hada_w2_b": b, "hada_t1": t1, "hada_t2": t2}
    delta = read(tmp_path, PATCH, parts)
    first, second = (torch.einsum("pr...,po,ri->oi...", t, a, b) for t in (t1, t2))
    close(delta.dense(), first * second)


@pytest.mark.parametrize("first", ["w1", "w1a w1b"])
@pytest.mark.parametrize("second", ["w2", "w2a w2b"])
def test_lokr_in_every_factorised_form(first: str, second: str, tmp_path: Path) -> None:
    tensors = {"w1": r(4, 8), "w1a": r(4, 2), "w1b": r(2, 8), "w2": r(128, 16), "w2a": r(128, 2), "w2b": r(2, 16)}
    leaves = {"w1": "lokr_w1", "w1a": "lokr_w1_a", "w1b": "lokr_w1_b"}
    leaves |= {field.replace("1", "2"): leaf.replace("w1", "w2") for field, leaf in leaves.items()}
    parts = {leaves[field]: tensors[field] for field in (first + " " + second).split()}
    delta = read(tmp_path, FFN, {**parts, "alpha": torch.tensor(1.0)})
    assert isinstance(delta, LoKr)
    one = tensors["w1"] if first == "w1" else tensors["w1a"] @ tensors["w1b"]
    two = tensors["w2"] if second == "w2" else tensors["w2a"] @ tensors["w2b"]
    # Both factors in full: LyCORIS and ComfyUI give it the scale 1, whatever its alpha.
    scale = 1.0 if (first, second) == ("w1", "w2") else 0.5
    close(delta.dense(), scale * torch.kron(one, two))


def test_lokr_of_a_convolution_full_flat_and_tucker(tmp_path: Path) -> None:
    w1, w2, w2a, w2b = r(4, 4), r(32, 4, 1, 2, 2), r(32, 2), r(2, 16)
    full = read(tmp_path, PATCH, {"lokr_w1": w1, "lokr_w2": w2})
    close(full.dense(), torch.kron(w1.reshape(4, 4, 1, 1, 1), w2))
    flat = read(tmp_path, PATCH, {"lokr_w1": w1, "lokr_w2_a": w2a, "lokr_w2_b": w2b})
    close(flat.dense(), torch.kron(w1, w2a @ w2b).reshape(128, 16, 1, 2, 2))
    core, a, b = r(2, 2, 1, 2, 2), r(2, 32), r(2, 4)
    tucker = read(tmp_path, PATCH, {"lokr_w1": w1, "lokr_t2": core, "lokr_w2_a": a, "lokr_w2_b": b})
    second = torch.einsum("pr...,po,ri->oi...", core, a, b).contiguous()
    close(tucker.dense(), torch.kron(w1.reshape(4, 4, 1, 1, 1), second))


def test_an_infinite_alpha_of_a_full_lokr_counts_for_nothing(tmp_path: Path) -> None:
    # ai-toolkit gives full-rank LoKr the alpha 1e10, which fp16 makes infinite.
    delta = read(tmp_path, FFN, {"lokr_w1": r(4, 8), "lokr_w2": r(128, 16), "alpha": torch.tensor(1e10).half()})
    assert delta.scale == 1.0


def test_lora_of_a_convolution_with_its_kernel_flat_and_with_mid(tmp_path: Path) -> None:
    down, up = r(3, 16, 1, 2, 2), r(128, 3, 1, 1, 1)
    kernel = read(tmp_path, PATCH, {"lora_down.weight": down, "lora_up.weight": up})
    close(kernel.dense(), (up.flatten(1) @ down.flatten(1)).reshape(128, 16, 1, 2, 2))
    flat = read(tmp_path, PATCH, {"lora_A.weight": down.flatten(1), "lora_B.weight": up.flatten(1)})
    close(flat.dense(), kernel.dense())
    mid, thin = r(3, 3, 1, 2, 2), r(3, 16, 1, 1, 1)
    tucker = read(tmp_path, PATCH, {"lora_down.weight": thin, "lora_up.weight": up, "lora_mid.weight": mid})
    expected = torch.einsum("or,rs...,si->oi...", up.flatten(1), mid, thin.flatten(1))
    close(tucker.dense(), expected)


def test_a_linear_lora_stored_as_1x1_convolutions(tmp_path: Path) -> None:
    delta = read(tmp_path, Q, {"lora_down.weight": r(2, 128, 1, 1), "lora_up.weight": r(128, 2, 1, 1)})
    assert delta.shape == (128, 128)


@pytest.mark.parametrize(
    ("leaf", "shape", "on_inputs"),
    [
        ("dora_scale", (512, 1), False),
        ("dora_scale", (512,), False),
        ("dora_scale", (1, 128), True),
        ("magnitude", (512,), False),
        ("lora_magnitude_vector", (512,), False),
        ("lora_magnitude_vector.weight", (512,), False),
        ("lora_magnitude_vector.default", (512,), False),
        ("lora_magnitude_vector.default.weight", (512, 1), False),
    ],
)
def test_dora_in_every_spelling_of_its_magnitude(
    leaf: str, shape: tuple[int, ...], on_inputs: bool, tmp_path: Path
) -> None:
    down, up, magnitude = r(2, 128), r(512, 2), r(*shape).abs() + 1
    delta = read(tmp_path, FFN, {"lora_A.weight": down, "lora_B.weight": up, leaf: magnitude})
    assert isinstance(delta, Dora)
    assert delta.on_inputs is on_inputs
    base = r(512, 128)
    changed = base + up @ down
    norm = changed.norm(dim=0, keepdim=True) if on_inputs else changed.norm(dim=1, keepdim=True)
    gain = magnitude.reshape(1, -1) if on_inputs else magnitude.reshape(-1, 1)
    close(delta.dense(base), gain * changed / norm - base)


def test_the_axis_of_a_magnitude_is_clear_even_on_square_weights(tmp_path: Path) -> None:
    factors = {"lora_A.weight": r(2, 128), "lora_B.weight": r(128, 2)}
    assert read(tmp_path, Q, {**factors, "dora_scale": r(1, 128)}).on_inputs
    assert not read(tmp_path, Q, {**factors, "dora_scale": r(128, 1)}).on_inputs


def test_pefts_convolution_magnitude_is_per_output(tmp_path: Path) -> None:
    parts = {"lora_A.weight": r(2, 16, 1, 2, 2), "lora_B.weight": r(128, 2, 1, 1, 1)}
    delta = read(tmp_path, PATCH, {**parts, "lora_magnitude_vector": r(1, 128, 1, 1, 1)})
    assert not delta.on_inputs
    assert delta.shape == (128, 16, 1, 2, 2)


@pytest.mark.parametrize("inner", ["hada", "lokr"])
def test_dora_may_hold_loha_and_lokr(inner: str, tmp_path: Path) -> None:
    parts = {
        "hada": {f"hada_w{i}_{half}": r(*((512, 2) if half == "a" else (2, 128))) for i in (1, 2) for half in "ab"},
        "lokr": {"lokr_w1": r(4, 8), "lokr_w2": r(128, 16)},
    }[inner]
    delta = read(tmp_path, FFN, {**parts, "dora_scale": r(512, 1)})
    assert isinstance(delta, Dora)
    assert type(delta.inner) in (LoHa, LoKr)


def test_the_bias_of_lora_b_is_scaled_with_its_lora(tmp_path: Path) -> None:
    bias = r(512)
    tensors = {f"{FFN}.lora_A.weight": r(4, 128), f"{FFN}.lora_B.weight": r(512, 4), f"{FFN}.lora_B.bias": bias}
    path = save(tmp_path / "a.safetensors", tensors)
    assert torch.equal(read_lora(path, spec=POCKET).deltas[f"{FFN}.bias"].dense(), bias)
    path = save(tmp_path / "b.safetensors", {**tensors, f"{FFN}.alpha": torch.tensor(2)})
    close(read_lora(path, spec=POCKET).deltas[f"{FFN}.bias"].dense(), 0.5 * bias)


def test_an_alpha_beside_a_full_difference_is_not_applicable(tmp_path: Path) -> None:
    tensors = {f"{Q}.diff": r(128, 128), f"{Q}.alpha": torch.tensor(4.0), "blocks.1.self_attn.k.alpha": torch.tensor(1)}
    weights = read_lora(save(tmp_path / "x.safetensors", tensors), spec=POCKET)
    status = {record.name: record.status for record in weights.account}
    assert status == {name: "applied" if name.endswith("diff") else "not_applicable" for name in tensors}
    assert torch.equal(weights.deltas[Q].dense(), tensors[f"{Q}.diff"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_factors_keep_the_files_dtype_and_multiply_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    down, up = r(2, 128).to(dtype), r(128, 2).to(dtype)
    delta = read(tmp_path, Q, {"lora_down.weight": down, "lora_up.weight": up})
    assert isinstance(delta, Lora)
    assert delta.down.dtype == dtype
    assert delta.dense().dtype == torch.float32
    close(delta.dense(), up.float() @ down.float())


UNSUPPORTED = {
    "peft OFT": (f"base_model.model.{Q}.oft_R.weight", "OFT"),
    "BOFT": (f"base_model.model.{Q}.boft_R", "BOFT"),
    "GLoRA": (f"lycoris_{Q.replace('.', '_')}.bm.weight", "GLoRA with a core"),
    "Stand-In": (f"diffusion_model.{Q}_loras.down.weight", "Stand-In"),
    "UniAnimate": ("dwpose_embedding.0.weight", "UniAnimate (its pose encoder is not a LoRA)"),
    "control": (
        "diffusion_model.patch_embedding.reshape_weight",
        "control LoRA (it reshapes a layer)",
    ),
    "IA3": (f"lora_unet_{Q.replace('.', '_')}.on_input", "IA3"),
    "VeRA": (f"base_model.model.{Q}.vera_lambda_b", "VeRA"),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    name, called = UNSUPPORTED[kind]
    lora = {f"diffusion_model.{Q}.lora_A.weight": r(2, 128), f"diffusion_model.{Q}.lora_B.weight": r(128, 2)}
    path = save(tmp_path / "x.safetensors", {**lora, name: r(4, 4)})
    with pytest.raises(UnsupportedLoraError) as caught:
        read_lora(path, spec=POCKET, allow_partial=True)
    assert (
        str(caught.value)
        == f"{path}: 1 tensor is of a kind that is not supported: {called}, by {name}. Choose another LoRA."
    )
    assert inspect_lora(path, spec=POCKET).faults == (caught.value.what,)


@pytest.mark.parametrize("spec", [POCKET, None])
def test_a_lora_that_widens_the_patch_embedding_is_a_control_lora(spec, tmp_path: Path) -> None:
    width = 128 if spec else 5120
    parts = {"lora_A.weight": r(2, 32, 1, 2, 2), "lora_B.weight": r(width, 2, 1, 1, 1)}
    path = save(tmp_path / "c.safetensors", {f"diffusion_model.patch_embedding.{leaf}": t for leaf, t in parts.items()})
    with pytest.raises(
        UnsupportedLoraError, match="control LoRA, which is not supported: its patch_embedding takes 32"
    ):
        read_lora(path, spec=spec)


def test_two_kinds_for_one_target_are_refused(tmp_path: Path) -> None:
    tensors = {f"{Q}.lora_A.weight": r(2, 128), f"{Q}.lora_B.weight": r(128, 2), f"{Q}.diff": r(128, 128)}
    path = save(tmp_path / "x.safetensors", tensors)
    with pytest.raises(LoraFileError, match=r"1 target is given twice: blocks\.0\.self_attn\.q as full and as lora"):
        read_lora(path, spec=POCKET)
