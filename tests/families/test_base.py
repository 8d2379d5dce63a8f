"""ModelSpec: names found in every spelling, parameters found in every module."""

from __future__ import annotations

import time

import pytest
import tiny
import torch
from torch import nn

from lora_core.errors import LoraMismatchError, ModelError
from lora_core.families.registry import spec_of_module
from lora_core.families.wan.spec import WAN_SPEC_NAMES, infer_wan_spec, wan_grammar, wan_spec

SPELLINGS = {
    "blocks.1.self_attn.q": ("blocks.1.attn1.to_q", "blocks.1.self_attn.to_q"),
    "blocks.1.cross_attn.o": ("blocks.1.attn2.to_out.0", "blocks.1.cross_attn.to_out.0"),
    "blocks.1.ffn.2": ("blocks.1.ffn.net.2",),
    "blocks.1.norm3": ("blocks.1.norm2",),
    "blocks.1.modulation": ("blocks.1.scale_shift_table",),
    "head.head": ("proj_out",),
    "head.modulation": ("scale_shift_table",),
    "time_projection.1": ("condition_embedder.time_proj",),
    "patch_embedding": (),
}


class NativeBlock(nn.Module):
    """One block as Wan's own code (and ComfyUI's) names its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = (
            nn.ModuleDict({name: nn.Linear(64, 64) for name in "qkvo"} | {"norm_q": nn.RMSNorm(64)}) for _ in range(2)
        )
        self.ffn = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))
        self.modulation = nn.Parameter(torch.zeros(1, 6, 64))


class NativeWan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv3d(16, 64, (1, 2, 2), stride=(1, 2, 2))
        self.text_embedding = nn.Sequential(nn.Linear(32, 64))
        self.blocks = nn.ModuleList([NativeBlock()])
        self.head = nn.Module()
        self.head.head = nn.Linear(64, 64)
        self.head.modulation = nn.Parameter(torch.zeros(1, 2, 64))


@pytest.mark.parametrize("canonical", SPELLINGS)
def test_every_spelling_finds_the_canonical_path(canonical: str) -> None:
    for spec in (wan_grammar(), wan_spec("wan2.2-t2v-a14b")):
        for spelling in (canonical, *SPELLINGS[canonical]):
            assert spec.find(spelling) == canonical
            assert spec.find_flat(spelling.replace(".", "_")) == canonical


@pytest.mark.parametrize(("name", "num_blocks"), [("wan2.2-t2v-a14b", 40), ("wan2.1-t2v-1.3b", 30)])
def test_a_spec_knows_how_many_blocks_it_has(name: str, num_blocks: int) -> None:
    assert wan_spec(name).num_blocks == num_blocks


def test_what_is_in_no_table_is_not_found() -> None:
    spec = wan_spec("wan2.1-t2v-1.3b")
    assert spec.find("blocks.30.self_attn.q") is None, "1.3B has 30 blocks"
    assert spec.find("blocks.0.self_attn") is None
    assert spec.find_flat("blocks_0_self_attn_z") is None


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("blocks.7.self_attn.qq", "blocks.7.self_attn.q"), ("blocks.7.attn1.toq", "blocks.7.self_attn.q"), ("%%", None)],
)
def test_nearest_keeps_the_block(name: str, nearest: str | None) -> None:
    assert wan_grammar().nearest(name) == nearest


def test_nearest_is_quick_enough_for_a_whole_file() -> None:
    spec = wan_grammar()
    spec.nearest("warm.up")
    start = time.perf_counter()
    for i in range(20):
        spec.nearest(f"down_blocks.{i}.attentions.0.to_q")
    assert time.perf_counter() - start < 2


def test_image_branch_is_not_applicable_on_a_text_base_only() -> None:
    for target in ("blocks.3.cross_attn.k_img", "blocks.3.cross_attn.v_img.bias", "img_emb.proj.1"):
        assert "image branch" in (wan_spec("wan2.2-t2v-a14b").why_absent(target) or "")
        assert "image branch" in (wan_spec("wan2.2-i2v-a14b").why_absent(target) or "")
        assert wan_spec("wan2.1-i2v-14b").why_absent(target) is None
    assert wan_spec("wan2.2-t2v-a14b").find("blocks.3.attn2.add_k_proj") == "blocks.3.cross_attn.k_img"
    assert wan_spec("wan2.2-t2v-a14b").why_absent("blocks.3.cross_attn.k_imgs") is None


def test_every_parameter_of_a_diffusers_module_has_a_target() -> None:
    module = tiny.transformer(0)
    spec = spec_of_module(module)
    paths = {spec.parameter_path(target, module) for target in spec.shapes}
    assert {f"{path}.{name}" if path else name for path, name in paths} == dict(module.named_parameters()).keys()
    assert spec.parameter_path("blocks.1.norm3", module) == ("blocks.1.norm2", "weight")
    assert spec.parameter_path("head.modulation", module) == ("", "scale_shift_table")
    assert spec.parameter_path("head.head.bias", module) == ("proj_out", "bias")


def test_a_native_module_is_recognised_as_wan() -> None:
    module = NativeWan()
    spec = spec_of_module(module)
    assert spec.find("blocks.0.attn1.to_q") == "blocks.0.self_attn.q"
    assert spec.parameter_path("blocks.0.self_attn.q", module) == ("blocks.0.self_attn.q", "weight")
    assert spec.parameter_path("blocks.0.modulation", module) == ("blocks.0", "modulation")
    assert len(spec.shapes) == len(list(module.parameters()))


def test_any_other_module_gets_its_own_names() -> None:
    module = nn.ModuleDict({"first": nn.Linear(3, 5), "norm": nn.LayerNorm(5)})
    spec = spec_of_module(module)
    assert spec.name == "generic"
    assert spec.shapes == {"first": (5, 3), "first.bias": (5,), "norm": (5,), "norm.bias": (5,)}
    assert spec.parameter_path("norm.bias", module) == ("norm", "bias")
    assert spec.num_experts == 1


def test_a_target_that_is_not_there_names_the_nearest() -> None:
    module = nn.ModuleDict({"first": nn.Linear(3, 5)})
    with pytest.raises(
        LoraMismatchError,
        match=(
            r"^ModuleDict: no parameter for the target 'frist' \(nearest 'first'\)\. "
            r"Choose a LoRA made for this model\.$"
        ),
    ):
        spec_of_module(module).parameter_path("frist", module)


# ---------------------------------------------------------------------------------------------- wan.py


@pytest.mark.parametrize("name", WAN_SPEC_NAMES)
def test_a_published_model_is_told_by_its_shapes(name: str) -> None:
    spec = wan_spec(name)
    parameters = {_parameter(target): shape for target, shape in spec.shapes.items()}
    assert infer_wan_spec(parameters, num_experts=spec.num_experts).name == name
    prefixed = {f"model.diffusion_model.{parameter}": shape for parameter, shape in parameters.items()}
    assert infer_wan_spec(prefixed, num_experts=spec.num_experts).shapes == spec.shapes


def test_boundaries_and_geometry_are_those_of_the_wan_repositories() -> None:
    table = {
        name: (spec.boundary, spec.default_shift, spec.default_cfg)
        for name in WAN_SPEC_NAMES
        if (spec := wan_spec(name))
    }
    assert table["wan2.2-t2v-a14b"] == (0.875, 12.0, (4.0, 3.0))
    assert table["wan2.2-i2v-a14b"] == (0.900, 5.0, (3.5, 3.5))
    assert table["wan2.2-ti2v-5b"] == (None, 5.0, (5.0, 5.0))
    assert wan_spec("wan2.2-ti2v-5b").vae_stride == (4, 16, 16)
    assert wan_spec("wan2.2-i2v-a14b").image_conditioned
    assert not wan_spec("wan2.2-t2v-a14b").image_conditioned


def test_number_of_experts_tells_wan_2_1_from_2_2() -> None:
    shapes = {_parameter(target): shape for target, shape in wan_spec("wan2.2-t2v-a14b").shapes.items()}
    assert infer_wan_spec(shapes).name == "wan2.2-t2v-a14b"
    assert infer_wan_spec(shapes, num_experts=1).name == "wan2.1-t2v-14b"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ModelError, match=r"^wan3: no Wan model has this name \(one of wan2\.2-t2v-a14b, "):
        wan_spec("wan3")


def test_the_grammar_has_every_name_and_no_shape() -> None:
    grammar = wan_grammar()
    assert set(wan_spec("wan2.1-i2v-14b").shapes) < set(grammar.shapes)
    assert set(grammar.shapes.values()) == {()}


def _parameter(target: str) -> str:
    return target if target.endswith((".bias", ".modulation", ".emb_pos")) else f"{target}.weight"
