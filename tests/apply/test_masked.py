"""LoRAs that act on some tokens of the video: each token as if the stack were what its masks say, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import random_deltas
import tiny
import tiny_cosmos
import tiny_hunyuan
import torch
from random_deltas import dense_weight
from torch import Tensor, nn

from lora_core.apply.attachment import attach
from lora_core.apply.masks import Masks
from lora_core.apply.strengths import Strengths
from lora_core.deltas import Delta, Full
from lora_core.errors import ModelError, StackError
from lora_core.families.registry import family_of, spec_of_module

#: What `tiny.run` gives a network of Wan's: 2 latent frames of 4x4, in patches of 2x2.
GRID, NUM_TOKENS, WIDTH = (2, 2, 2), 8, tiny.WIDTH


@dataclass(frozen=True)
class Entry:
    """One LoRA as routing hands it over."""

    deltas: Mapping[str, Delta]
    strength: float = 1.0
    name: str = "style"
    factors: Mapping[str, float] = field(default_factory=dict)


def soft_mask(seed: int = 0) -> Tensor:
    return torch.rand(GRID, generator=torch.Generator().manual_seed(seed))


def hard_mask() -> Tensor:
    return torch.tensor([1.0, 0.0]).expand(GRID).contiguous()


def entry_on(module: nn.Module, targets: Sequence[str], make=random_deltas.lora, **fields: object) -> Entry:
    """Make a LoRA of one kind; of parameters that are no matrix a difference in full."""
    spec, deltas = spec_of_module(module), {}
    for target in targets:
        shape = spec.shapes[target]
        deltas[target] = make(shape) if len(shape) == 2 else Full(0.3 * torch.randn(shape))
    return Entry(deltas, **fields)


def everything(module: nn.Module, *, without: str = "\0") -> list[str]:
    return [target for target in spec_of_module(module).shapes if without not in target]


def merged(module: nn.Module, *entries: Entry) -> nn.Module:
    """Return a copy of a network with the changes of LoRAs in its weights."""
    result, spec = copy.deepcopy(module), spec_of_module(module)
    for entry in entries:
        for target, delta in entry.deltas.items():
            path, name = spec.parameter_path(target, module)
            base, changed = module.get_submodule(path).get_parameter(name), result.get_submodule(path)
            change = dense_weight(base, [delta], [entry.strength]) - base.double()
            changed.get_parameter(name).data += change.to(base.dtype)
    return result


def assert_alike(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------------------------- one module


@pytest.mark.parametrize("make", random_deltas.LINEAR.values(), ids=random_deltas.LINEAR)
def test_a_layer_gives_each_token_what_its_masks_say_whatever_changes_it(make):
    """It is W x + sum m_i (W_i - W) x, with a LoRA beside them that acts everywhere."""
    torch.manual_seed(1)
    module, x = tiny.transformer(0), torch.randn(2, NUM_TOKENS, WIDTH)
    targets = ["blocks.0.ffn.0", "blocks.0.ffn.0.bias"]
    first = entry_on(module, targets, make, strength=0.7)
    second = entry_on(module, targets, strength=-0.4, name="second")
    plain = entry_on(module, targets, name="plain")
    masks = {"style": soft_mask(1), "second": soft_mask(2)}
    layer = module.blocks[0].ffn.net[0].proj
    base = layer(x)
    expected = merged(module, plain).blocks[0].ffn.net[0].proj(x)
    for one in (first, second):
        change = merged(module, one).blocks[0].ffn.net[0].proj(x) - base
        expected = expected + masks[one.name].view(1, -1, 1) * change
    with torch.no_grad(), attach(module, [first, plain, second], masks=masks) as attachment:
        assert_alike(layer(x), expected)
        assert attachment.num_layers == 1
        with attachment.acting_on("second_half"):
            halves = layer(x)
        with attachment.acting_on("none"):
            assert torch.equal(layer(x), base)
        attachment.set_strengths([0, 0, 0])
        assert torch.equal(layer(x), base)
    assert_alike(halves, torch.stack([base[0], expected[1]]))
    assert torch.equal(layer(x), base)


def assert_adds_up(module: nn.Module, path: str, entries: Sequence[Entry], masks: Mapping[str, Tensor]) -> None:
    """A layer gives its own output and each LoRA's change of it, times its mask if it has one."""
    layer, everywhere = module.get_submodule(path), torch.ones(GRID)
    x = torch.randn(2, NUM_TOKENS, layer.in_features)
    base = expected = layer(x)
    for one in entries:
        change = merged(module, one).get_submodule(path)(x) - base
        expected = expected + masks.get(one.name, everywhere).view(1, -1, 1) * change
    with torch.no_grad(), attach(module, entries, masks=masks):
        assert_alike(layer(x), expected)


def test_gains_of_several_doras_are_on_what_the_base_gives():
    module, targets = cosmos(), ["blocks.0.self_attn.q_proj"]
    entries = [entry_on(module, targets, random_deltas.dora, name=name) for name in ("a", "b")]
    assert module.transformer_blocks[0].attn1.to_q.bias is None
    masks = {"a": soft_mask(1), "b": soft_mask(2)}
    assert_adds_up(module, "transformer_blocks.0.attn1.to_q", entries, masks)


def test_a_gain_is_not_on_what_another_lora_adds_to_the_bias():
    module = tiny.transformer(0)
    dora = entry_on(module, ["blocks.0.ffn.0"], random_deltas.dora)
    plain = entry_on(module, ["blocks.0.ffn.0.bias"], name="plain")
    assert_adds_up(module, "blocks.0.ffn.net.0.proj", [dora, plain], {"style": soft_mask()})


def test_a_convolution_into_patches_and_a_norm_do_so_too():
    torch.manual_seed(1)
    module, latents, x = tiny.transformer(0), torch.randn(2, 16, 2, 4, 4), torch.randn(2, NUM_TOKENS, WIDTH)
    targets = ["patch_embedding", "patch_embedding.bias", "blocks.0.norm3", "blocks.0.norm3.bias"]
    one, plain = entry_on(module, targets), entry_on(module, targets, name="plain", strength=0.5)
    mask = soft_mask()
    changed, both = merged(module, plain), merged(module, plain, one)
    patches, whole = changed.patch_embedding(latents), both.patch_embedding(latents)
    normed, whole_normed = changed.blocks[0].norm2(x), both.blocks[0].norm2(x)
    with torch.no_grad(), attach(module, [one, plain], masks={"style": mask}) as attachment:
        assert_alike(module.patch_embedding(latents), patches + (whole - patches) * mask)
        expected = normed + (whole_normed - normed) * mask.view(1, -1, 1)
        assert_alike(module.blocks[0].norm2(x), expected)
        with attachment.acting_on("second_half"):
            halves = module.blocks[0].norm2(x)
    assert_alike(halves, torch.stack([module.blocks[0].norm2(x)[0], expected[1]]))


def test_tokens_read_the_text_with_the_keys_and_values_of_their_own_side():
    """On a hard edge each side's cross-attention is that of the LoRA alone, or of none; between them it is mixed."""
    torch.manual_seed(1)
    module, x, text = tiny.transformer(0), torch.randn(2, NUM_TOKENS, WIDTH), torch.randn(2, 16, WIDTH)
    names = ["k", "v", "norm_k", "k.bias", "q", "o", "norm_q"]
    one = entry_on(module, [f"blocks.0.cross_attn.{name}" for name in names])
    base, whole = module.blocks[0].attn2(x, text), merged(module, one).blocks[0].attn2(x, text)
    hard = hard_mask()
    with torch.no_grad(), attach(module, [one], masks={"style": hard}) as attachment:
        found = module.blocks[0].attn2(x, text)
        with attachment.acting_on("second_half"):
            halves = module.blocks[0].attn2(x, text)
    inside = hard.flatten().bool()
    assert_alike(found[:, inside], whole[:, inside])
    assert_alike(found[:, ~inside], base[:, ~inside])
    assert_alike(halves, torch.stack([base[0], found[1]]))
    of_text = entry_on(module, [f"blocks.0.cross_attn.{name}" for name in names[:4]])
    mask = soft_mask()
    whole = merged(module, of_text).blocks[0].attn2(x, text)
    with torch.no_grad(), attach(module, [of_text], masks={"style": mask}):
        found = module.blocks[0].attn2(x, text)
    assert_alike(found, base + (whole - base) * mask.view(1, -1, 1))


def test_a_query_is_computed_once_for_all_sets_and_so_is_the_output():
    module, x, text = tiny.transformer(0), torch.randn(1, NUM_TOKENS, WIDTH), torch.randn(1, 16, WIDTH)
    entries = [entry_on(module, ["blocks.0.cross_attn.k"], name=name) for name in "abc"]
    calls = {"to_q": 0, "to_k": 0, "to_out.0": 0}

    def count(name: str) -> None:
        calls[name] += 1

    attention = module.blocks[0].attn2
    hooks = [
        attention.get_submodule(name).register_forward_hook(lambda *_, name=name: count(name)) for name in ("to_k",)
    ]
    inner = {name: attention.get_submodule(name) for name in ("to_q", "to_out.0")}
    originals = {name: layer.forward for name, layer in inner.items()}
    for name, layer in inner.items():
        layer.forward = lambda *args, name=name: (count(name), originals[name](*args))[1]
    try:
        with torch.no_grad(), attach(module, entries, masks={name: soft_mask(ord(name)) for name in "abc"}):
            attention(x, text)
    finally:
        for hook in hooks:
            hook.remove()
        for layer in inner.values():
            del layer.forward
    assert calls == {"to_q": 1, "to_k": 8, "to_out.0": 1}


def test_many_loras_that_overlap_read_the_text_one_by_one():
    """Of more than eight sets each LoRA's change is counted by itself; without overlap the sets stay as few as they."""
    module, x, text = tiny.transformer(0), torch.randn(1, NUM_TOKENS, WIDTH), torch.randn(1, 16, WIDTH)
    entries = [entry_on(module, ["blocks.0.cross_attn.v"], name=name, strength=0.5) for name in "abcde"]
    attention, masks = module.blocks[0].attn2, {name: soft_mask(ord(name)) for name in "abcde"}
    base = attention(x, text)
    changes = [merged(module, one).blocks[0].attn2(x, text) - base for one in entries]
    weighed = [mask.view(1, -1, 1) * change for mask, change in zip(masks.values(), changes, strict=True)]
    with torch.no_grad(), attach(module, entries, masks=masks):
        assert_alike(attention(x, text), base + sum(weighed))


def test_loras_that_all_overlap_are_not_counted_in_every_combination():
    names = [str(number) for number in range(40)]  # 2**40 sets
    masks = Masks(Strengths([1.0] * len(names)), names, {name: soft_mask(int(name)) for name in names})
    sets = masks.sets(range(len(names)), torch.device("cpu"))
    assert [sorted(one.members) for one in sets] == [*([number] for number in range(40)), []]


def test_what_has_no_place_in_the_clip_acts_at_the_mean_of_the_mask():
    torch.manual_seed(1)
    module = tiny.transformer(0)
    targets = ["blocks.0.modulation", "time_embedding.0", "text_embedding.2", "head.modulation"]
    one, plain = entry_on(module, targets, strength=0.8), entry_on(module, targets, name="plain")
    mask = soft_mask()
    part = Entry(one.deltas, 0.8 * float(mask.mean()))
    expected = tiny.run(merged(module, part, plain))
    with attach(module, [one, plain], masks={"style": mask}):
        assert_alike(tiny.run(module), expected)


# ---------------------------------------------------------------------------------------------- whole networks


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_a_mask_of_ones_is_none_and_one_of_zeros_is_strength_zero_bit_for_bit(number):
    module = tiny.transformer(0)
    one = entry_on(module, everything(module), strength=0.1)
    with attach(module, [one]) as attachment:
        expected = tiny.run(module) if number else tiny.run(tiny.transformer(0))
        attachment.set_strengths([number * 0.1])
        expected = tiny.run(module)
    with attach(module, [one], masks={"style": torch.full(GRID, number)}):
        assert torch.equal(tiny.run(module), expected)


#: name -> (network, how it is run).
NETWORKS = {
    "wan": lambda: (tiny.transformer(0), tiny.run),
    "wan i2v": lambda: (
        tiny.transformer(in_channels=36, image_branch=True),
        lambda network: tiny.run(network, image_tokens=257),
    ),
    "cosmos": lambda: (cosmos(), run_cosmos),
    "hunyuan": lambda: (tiny_hunyuan.transformer(), run_hunyuan),
}


def cosmos() -> nn.Module:
    """Build a tiny Cosmos as they are opened here, the padding mask one of its own channels."""
    from diffusers import CosmosTransformer3DModel

    torch.manual_seed(0)
    arguments = {**tiny_cosmos.ARGUMENTS, "in_channels": 18, "concat_padding_mask": False}
    return CosmosTransformer3DModel(**arguments).requires_grad_(False).eval()


def run_cosmos(module: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    x, text = torch.randn(1, 18, 2, 4, 4, generator=generator), torch.randn(1, 6, 32, generator=generator)
    with torch.no_grad():
        return module(x, torch.tensor([0.7]), text, fps=16, return_dict=False)[0]


def run_hunyuan(module: nn.Module) -> Tensor:
    generator, size = torch.Generator().manual_seed(7), tiny_hunyuan.SIZE
    x = torch.randn(1, size.in_channels, 2, 4, 4, generator=generator)
    text, pooled = (
        torch.randn(1, *shape, generator=generator) for shape in ((6, size.text_width), (size.pooled_width,))
    )
    ones = torch.ones(1, 6, dtype=torch.bool)
    with torch.no_grad():
        return module(x, torch.tensor([700]), text, ones, pooled, guidance=torch.tensor([6000.0]), return_dict=False)[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_lora_on_both_sides_of_an_edge_is_that_lora_without_a_mask(name):
    """Every kind of change of every parameter, but for what acts at the mean of a mask, which is a half of each."""
    torch.manual_seed(1)
    module, run = NETWORKS[name]()
    kinds = [random_deltas.lora, random_deltas.loha, random_deltas.dora, random_deltas.lokr]
    spec = spec_of_module(module)
    deltas = {}
    for number, target in enumerate(everything(module)):
        shape = spec.shapes[target]
        if family_of(spec).regions.met_by(target) != "global":
            deltas[target] = kinds[number % 4](shape) if len(shape) == 2 else Full(0.1 * torch.randn(shape))
    left, right = (Entry(deltas, 0.2, name) for name in ("left", "right"))
    with attach(module, [left], spec):
        expected = run(module)
    mask = torch.tensor([1.0, 0.0]).expand(GRID)
    with attach(module, [left, right], spec, masks={"left": mask, "right": 1 - mask}):
        found = run(module)
    assert (expected - run(module)).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_soft_sides_of_one_lora_add_up_where_it_leaves_the_text_alone():
    module, mask = tiny.transformer(0), soft_mask()
    targets = [t for t in everything(module) if spec_rules(module).met_by(t) == "video"]
    left, right = (entry_on(module, targets, strength=0.2, name=name) for name in ("left", "right"))
    right = Entry(left.deltas, 0.2, "right")
    with attach(module, [left]):
        expected = tiny.run(module)
    with attach(module, [left, right], masks={"left": mask, "right": 1 - mask}):
        assert_alike(tiny.run(module), expected)


def spec_rules(module: nn.Module):
    return family_of(spec_of_module(module)).regions


def test_another_part_of_a_clip_brings_other_masks():
    module, mask = tiny.transformer(0), soft_mask()
    one = entry_on(module, everything(module), strength=0.1)
    plain = tiny.run(module)
    with attach(module, [one], masks={"style": mask}) as attachment:
        first = tiny.run(module)
        attachment.set_masks({"style": torch.zeros(GRID)})
        assert torch.equal(tiny.run(module), plain)
        attachment.set_masks({"style": torch.ones(GRID)})
        whole = tiny.run(module)
        attachment.set_masks({"style": mask})
        assert torch.equal(tiny.run(module), first)
    with attach(module, [one]):
        assert_alike(whole, tiny.run(module))
    assert torch.equal(tiny.run(module), plain)


def test_a_gguf_base_takes_masked_loras(tmp_path):
    from lora_core import open_wan

    file = tiny.save_gguf(tiny.transformer(0), tmp_path / "model.gguf")
    module = open_wan(file).at_rest("low_noise").module
    one = entry_on(tiny.transformer(0), everything(tiny.transformer(0)), strength=0.1)
    mask = hard_mask()
    plain = tiny.run(module)
    with attach(module, [one], masks={"style": mask}):
        found = tiny.run(module)
    with attach(tiny.transformer(0), [one], masks={"style": mask}):
        expected = tiny.run(tiny.transformer(0))
    assert (found - expected).norm() < 0.2 * (found - plain).norm()
    assert torch.equal(tiny.run(module), plain)


# ---------------------------------------------------------------------------------------------- what is refused


def test_masks_of_another_size_are_refused_when_the_network_runs():
    module = tiny.transformer(0)
    with attach(module, [entry_on(module, ["blocks.0.ffn.0"])], masks={"style": torch.rand(3, 2, 2)}):  # noqa: SIM117  # one raises
        with pytest.raises(ModelError, match=r"^masks: .* meets 8 tokens \(12, for masks of 3x2x2\)"):
            tiny.run(module)


@pytest.mark.parametrize(
    "masks", [{"other": soft_mask()}, {"style": soft_mask()[0]}, {"style": soft_mask(), "second": torch.rand(1, 2, 2)}]
)
def test_masks_that_fit_no_stack_are_refused(masks):
    module = tiny.transformer(0)
    entries = [entry_on(module, ["blocks.0.ffn.0"], name=name) for name in ("style", "second")]
    with pytest.raises(StackError, match=r"^masks: "):
        attach(module, entries, masks=masks)


def test_a_network_of_no_known_family_is_refused_by_name():
    module = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ModelError, match="nobody knows which part of a clip its modules see"):
        attach(module, [Entry({"0": random_deltas.lora((4, 4))})], masks={"style": torch.rand(1, 2, 2)})
