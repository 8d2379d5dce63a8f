"""Fused projections: a file that trained q, k and v as one module is read to the exact changes of the three."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from spellings import save
from torch import Tensor

from lora_core.deltas import Dora, Full, LoKr, Lora
from lora_core.errors import LoraFileError, LoraMismatchError, UnsupportedLoraError
from lora_core.families.base import ModelSpec
from lora_core.families.wan.spec import wan_spec
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora
from lora_core.files.weights import LoraWeights
from lora_core.files.write import write_lora

POCKET = wan_spec("wan-pocket")
I2V = wan_spec("wan2.1-i2v-14b")
QKV = "transformer.blocks.1.attn1.to_qkv"
SELF = tuple(f"blocks.1.self_attn.{part}" for part in "qkv")
CROSS = tuple(f"blocks.1.cross_attn.{part}" for part in "kv")
WIDTH = POCKET.shapes[SELF[0]][0]


def r(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(*shape)


def read(folder: Path, module: str, parts: Mapping[str, Tensor], spec: ModelSpec | None = POCKET) -> LoraWeights:
    return read_lora(save(folder / "x.safetensors", {f"{module}.{leaf}": t for leaf, t in parts.items()}), spec=spec)


def stacked(weights: LoraWeights, targets: tuple[str, ...]) -> Tensor:
    assert tuple(weights.deltas) == targets
    return torch.cat([weights.deltas[target].dense() for target in targets])


@pytest.mark.parametrize(
    ("module", "targets"),
    [
        (QKV, SELF),
        ("base_model.model.blocks.1.attn1.to_qkv", SELF),
        ("lycoris_blocks_1_attn1_to_qkv", SELF),
        ("lycoris_blocks_1_self_attn_to_qkv", SELF),
        ("diffusion_model.blocks.1.self_attn.qkv", SELF),
        ("transformer.blocks.1.attn2.to_kv", CROSS),
        ("lycoris_blocks_1_cross_attn_to_kv", CROSS),
    ],
)
@pytest.mark.parametrize("spec", [POCKET, None])
def test_a_fused_lora_is_split_into_its_modules(
    module: str, targets: tuple[str, ...], spec: ModelSpec | None, tmp_path: Path
) -> None:
    down, up = r(4, WIDTH), r(len(targets) * WIDTH, 4)
    weights = read(tmp_path, module, {"lora_A.weight": down, "lora_B.weight": up, "alpha": torch.tensor(2.0)}, spec)
    torch.testing.assert_close(stacked(weights, targets), 0.5 * up @ down)
    assert all(isinstance(delta, Lora) and delta.rank == 4 for delta in weights.deltas.values())
    assert weights.account.count("applied") == len(weights.account) == 3
    assert {record.target for record in weights.account} == {
        f"blocks.1.self_attn.{'qkv'}" if targets is SELF else "blocks.1.cross_attn.kv"
    }


OUT = 3 * WIDTH
KINDS: dict[str, dict[str, Tensor]] = {
    "loha": {"hada_w1_a": r(OUT, 2), "hada_w1_b": r(2, WIDTH), "hada_w2_a": r(OUT, 3), "hada_w2_b": r(3, WIDTH)},
    "lokr": {"lokr_w1": r(6, 4), "lokr_w2": r(OUT // 6, WIDTH // 4)},
    "lokr, factorised": {
        "lokr_w1_a": r(6, 2),
        "lokr_w1_b": r(2, 4),
        "lokr_w2_a": r(OUT // 6, 2),
        "lokr_w2_b": r(2, WIDTH // 4),
    },
    "lokr across the seams": {"lokr_w1": r(4, 4), "lokr_w2": r(OUT // 4, WIDTH // 4)},
    "difference": {"diff": r(OUT, WIDTH)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_split_exactly(kind: str, tmp_path: Path) -> None:
    # An unfused target of the same shape says what the whole is.
    whole = ModelSpec("one", "one", {"m": (OUT, WIDTH)})
    expected = read(tmp_path, "m", KINDS[kind], whole).deltas["m"].dense()
    torch.testing.assert_close(stacked(read(tmp_path, QKV, KINDS[kind]), SELF), expected)


def test_a_lokr_stays_one_where_its_blocks_end_with_the_modules(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, QKV, KINDS["lokr"]).deltas[SELF[1]], LoKr)
    assert isinstance(read(tmp_path, QKV, KINDS["lokr across the seams"]).deltas[SELF[1]], Full)


def test_a_bias_is_split_with_its_weight(tmp_path: Path) -> None:
    down, up, bias = r(4, WIDTH), r(OUT, 4), r(OUT)
    weights = read(tmp_path, QKV, {"lora_A.weight": down, "lora_B.weight": up, "lora_B.bias": bias})
    biases = tuple(f"{target}.bias" for target in SELF)
    torch.testing.assert_close(torch.cat([weights.deltas[target].dense() for target in biases]), bias)


def test_a_dora_is_split_with_its_magnitude(tmp_path: Path) -> None:
    down, up, magnitude, base = r(4, WIDTH), r(OUT, 4), r(OUT).abs() + 1, r(OUT, WIDTH)
    weights = read(tmp_path, QKV, {"lora_A.weight": down, "lora_B.weight": up, "lora_magnitude_vector": magnitude})
    whole = Dora(Lora(down, up), magnitude).dense(base)
    shares = [weights.deltas[target].dense(base[i * WIDTH : (i + 1) * WIDTH]) for i, target in enumerate(SELF)]
    torch.testing.assert_close(torch.cat(shares), whole)


def test_a_magnitude_of_the_inputs_cannot_be_split(tmp_path: Path) -> None:
    parts = {"lora_A.weight": r(4, WIDTH), "lora_B.weight": r(OUT, 4), "dora_scale": r(1, WIDTH)}
    with pytest.raises(UnsupportedLoraError, match="1 fused target has a magnitude of the inputs, which cannot be"):
        read(tmp_path, QKV, parts)


def test_a_module_given_fused_and_alone_is_given_twice(tmp_path: Path) -> None:
    parts = {f"{QKV}.diff": r(OUT, WIDTH), "transformer.blocks.1.attn1.to_k.diff": r(WIDTH, WIDTH)}
    with pytest.raises(LoraFileError, match=r"1 target is given twice: blocks\.1\.self_attn\.k by "):
        read_lora(save(tmp_path / "x.safetensors", parts), spec=POCKET)


def test_outputs_that_are_no_three_alike_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoraMismatchError, match=rf"self_attn\.qkv is {OUT + 1}x{WIDTH} in the file and {OUT}x{WIDTH}"):
        read(tmp_path, QKV, {"diff": r(OUT + 1, WIDTH)})
    with pytest.raises(LoraFileError, match=rf"qkv \(its {OUT + 1} outputs are not those of 3 alike\)"):
        read(tmp_path, QKV, {"diff": r(OUT + 1, WIDTH)}, None)


def test_the_fused_image_branch_is_split_or_not_applicable(tmp_path: Path) -> None:
    parts = {"lora_A.weight": r(1, 5120), "lora_B.weight": r(10240, 1)}
    other = {f"{QKV}.lora_A.weight": r(1, 5120), f"{QKV}.lora_B.weight": r(15360, 1)}
    fused = {f"transformer.blocks.1.attn2.to_added_kv.{leaf}": tensor for leaf, tensor in parts.items()}
    path = save(tmp_path / "x.safetensors", other | fused)
    image = read_lora(path, spec=I2V)
    assert [target.rpartition(".")[2] for target in image.deltas] == ["q", "k", "v", "k_img", "v_img"]
    text = read_lora(path, spec=wan_spec("wan2.2-t2v-a14b"))
    assert text.account.counts()["not_applicable"] == 2
    assert image.base == text.base == "wan2.1-i2v-14b"


def test_a_fused_tensor_is_zero_only_where_all_its_shares_are(tmp_path: Path) -> None:
    up = torch.cat([torch.zeros(WIDTH, 4), r(2 * WIDTH, 4)])
    weights = read(tmp_path, QKV, {"lora_A.weight": r(4, WIDTH), "lora_B.weight": up})
    assert weights.account.count("applied") == 2
    weights = read(tmp_path, QKV, {"lora_A.weight": r(4, WIDTH), "lora_B.weight": 0 * up})
    assert weights.notes == ("all its deltas are zero: it changes nothing",)


def test_a_fused_lora_of_another_size_is_told_as_such(tmp_path: Path) -> None:
    parts = {f"{QKV}.lora_A.weight": r(1, 5120), f"{QKV}.lora_B.weight": r(15360, 1)}
    report = inspect_lora(save(tmp_path / "x.safetensors", parts), spec=wan_spec("wan2.1-t2v-1.3b"))
    assert report.faults[0].startswith("this is a Wan 14B LoRA (width 5120) and the model is Wan 2.1 T2V 1.3B")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("dialect", ["comfyui", "diffusers", "peft"])
def test_a_fused_lora_is_written_split(suffix: str, dialect: str, tmp_path: Path) -> None:
    parts = {f"{QKV}.lora_A.weight": r(4, WIDTH), f"{QKV}.lora_B.weight": r(OUT, 4)}
    weights = read_lora(save(tmp_path / f"x.{suffix}", parts), spec=POCKET)
    back = read_lora(write_lora(weights, tmp_path / "out" / "adapter_model.safetensors", dialect=dialect), spec=POCKET)
    torch.testing.assert_close(stacked(back, SELF), stacked(weights, SELF))
