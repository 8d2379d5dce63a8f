"""The names and specs of Cosmos, held against diffusers' network and against published sizes."""

import math

import pytest
import torch
from diffusers import CosmosTransformer3DModel
from safetensors.torch import save_file

from lora_core.errors import LoraMismatchError, ModelError
from lora_core.families.cosmos.names import to_diffusers, to_native
from lora_core.families.cosmos.spec import cosmos_grammar, cosmos_spec, infer_cosmos_spec
from lora_core.families.registry import family_of_targets, infer_spec, spec_named, spec_of_module
from lora_core.files.read import read_lora


@pytest.fixture(scope="module")
def network():
    """A tiny Cosmos, the padding mask among its input channels."""
    return CosmosTransformer3DModel(
        in_channels=18,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        mlp_ratio=2,
        text_embed_dim=48,
        adaln_lora_dim=4,
        max_size=(8, 16, 16),
        concat_padding_mask=False,
        extra_pos_embed_type=None,
    )


def native_names(network) -> dict[str, torch.Tensor]:
    return {to_native(name): tensor for name, tensor in network.state_dict().items()}


def test_every_parameter_of_diffusers_has_a_native_name_and_back(network):
    names = list(network.state_dict())
    assert [to_diffusers(to_native(name)) for name in names] == names
    assert set(infer_spec({name: tuple(t.shape) for name, t in network.state_dict().items()}).shapes) == {
        to_native(name).removesuffix(".weight") for name in names
    }


def test_a_published_size_has_the_shapes_of_its_spec_and_the_number_of_its_name():
    for name, billions in (("cosmos-predict2-2b-video2world", 1.96), ("cosmos-predict2-14b-video2world", 14.4)):
        spec = spec_named(name)
        assert sum(map(math.prod, spec.shapes.values())) / 1e9 == pytest.approx(billions, rel=0.01)
        inferred = infer_cosmos_spec({f"net.{target}.weight": shape for target, shape in spec.shapes.items()})
        assert (inferred.name, dict(inferred.shapes)) == (name, dict(spec.shapes))


@pytest.mark.parametrize("prefix", ["net.", "net_ema.", "diffusion_model.", "model.diffusion_model.", ""])
def test_a_checkpoint_is_known_under_each_prefix_and_what_is_no_parameter_is_left_out(network, prefix):
    shapes = {prefix + name: tuple(tensor.shape) for name, tensor in native_names(network).items()}
    others = {
        f"{prefix}accum_iteration": (),
        f"{prefix}pos_embedder.seq": (240,),
        f"{prefix}blocks.0.mlp._extra_state": (5,),
    }
    assert dict(infer_spec(shapes | others).shapes) == dict(spec_of_module(network).shapes)


def test_of_a_network_and_its_average_in_one_file_the_network_is_taken(network):
    shapes = {name: tuple(tensor.shape) for name, tensor in native_names(network).items()}
    both = {f"net_ema.{name}": (1, 1) for name in shapes} | {f"net.{name}": shape for name, shape in shapes.items()}
    assert dict(infer_spec(both).shapes) == dict(spec_of_module(network).shapes)


@pytest.mark.parametrize(
    ("prefix", "native", "leaves"),
    [
        ("net.", True, ("lora_A.default.weight", "lora_B.default.weight")),
        ("diffusion_model.", True, ("lora_A.weight", "lora_B.weight")),
        ("transformer.", False, ("lora_A.weight", "lora_B.weight")),
        ("", False, ("lora_A.weight", "lora_B.weight")),
    ],
)
def test_a_lora_reads_alike_from_each_dialect(network, tmp_path, prefix, native, leaves):
    spec, generator = spec_of_module(network), torch.Generator().manual_seed(1)
    tensors, wanted = {}, {}
    for target in ("blocks.1.self_attn.q_proj", "blocks.0.cross_attn.k_proj", "blocks.1.mlp.layer2"):
        (out, width), path = spec.shapes[target], target if native else to_diffusers(f"{target}.weight")[:-7]
        down, up = torch.randn(4, width, generator=generator), torch.randn(out, 4, generator=generator)
        tensors |= {f"{prefix}{path}.{leaves[0]}": down, f"{prefix}{path}.{leaves[1]}": up}
        wanted[target] = up @ down
    save_file(tensors, tmp_path / "lora.safetensors")
    for read in (read_lora(tmp_path / "lora.safetensors", spec=spec), read_lora(tmp_path / "lora.safetensors")):
        assert set(read.deltas) == set(wanted)
        for target, delta in read.deltas.items():
            torch.testing.assert_close(delta.dense(), wanted[target])
    assert family_of_targets(wanted).name == "cosmos"


def test_a_lora_of_the_other_size_is_named(tmp_path):
    spec, other = cosmos_spec("cosmos-predict2-2b-video2world"), cosmos_spec("cosmos-predict2-14b-video2world")
    out, width = other.shapes["blocks.0.self_attn.q_proj"]
    path = tmp_path / "lora.safetensors"
    name = "net.blocks.0.self_attn.q_proj"
    save_file({f"{name}.lora_A.weight": torch.ones(1, width), f"{name}.lora_B.weight": torch.ones(out, 1)}, path)
    assert read_lora(path).base == other.name
    with pytest.raises(LoraMismatchError, match="Cosmos Predict2 14B"):
        read_lora(path, spec=spec)


def test_a_wan_lora_is_named_on_a_cosmos_and_the_other_way_round(tmp_path):
    cosmos, wan = cosmos_spec("cosmos-predict2-2b-video2world"), spec_named("wan2.1-t2v-1.3b")
    for target, spec, family in (("self_attn.q", cosmos, "Wan"), ("self_attn.q_proj", wan, "Cosmos")):
        path, name = tmp_path / f"{family}.safetensors", f"diffusion_model.blocks.0.{target}"
        save_file({f"{name}.lora_A.weight": torch.ones(1, 1536), f"{name}.lora_B.weight": torch.ones(1536, 1)}, path)
        with pytest.raises(LoraMismatchError, match=family):
            read_lora(path, spec=spec)


def test_two_experts_and_other_networks_are_refused(network):
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelError, match="one expert"):
        infer_cosmos_spec(shapes, num_experts=2)
    with pytest.raises(ModelError, match="not those of a Cosmos transformer"):
        infer_cosmos_spec({"blocks.0.self_attn.norm_q.weight": (8,)})
    del shapes["transformer_blocks.0.ff.net.0.proj.weight"]
    with pytest.raises(ModelError, match=r"no tensor 'blocks\.0\.mlp\.layer1'"):
        infer_cosmos_spec(shapes)


def test_kinds_and_blocks_are_told():
    grammar = cosmos_grammar()
    assert "other" not in {grammar.kind_of(target) for target in grammar.shapes}
    assert grammar.block_of("blocks.3.mlp.layer1") == (3, "mlp.layer1")
