"""A LoRA on another base of the same shapes: identities, the report, the hint at a strength, and who is refused."""

import math

import pytest
import tiny
import torch
from tiny_loras import TARGETS, save_lora

from lora_core import LoraWeights, read_lora, transfer_lora
from lora_core.checkpoints.meter import MemoryMeter
from lora_core.deltas import Full, Lora
from lora_core.errors import LoraMismatchError, ModelError
from lora_core.files.by_target import open_base
from lora_core.transfer.subspaces import Subspaces, alike, carried
from lora_core.transfer.transfer import _Work

Q, FFN = "blocks.0.self_attn.q", "blocks.1.ffn.0"


def write(folder, state, name="base.safetensors"):
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in state.items()}, folder / name, metadata=tiny.NATIVE_METADATA)
    return folder / name


@pytest.fixture
def base(tmp_path):
    return tiny.save_native(tiny.transformer(0), tmp_path / "first_high_noise.safetensors")


@pytest.fixture
def other(tmp_path):
    return tiny.save_native(tiny.transformer(1), tmp_path / "second_low_noise.safetensors")


@pytest.fixture
def lora(tmp_path):
    return save_lora(tmp_path / "style.safetensors", 3)


def worst(first, second):
    return max(float((first[t].dense() - second[t].dense()).abs().max()) for t in first)


# ---------------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("num_directions", [1, 5, 64])
def test_from_a_base_to_itself_the_lora_comes_back(base, lora, project, num_directions):
    done = transfer_lora(lora, base, base, project=project, num_directions=num_directions)
    before = read_lora(lora).deltas
    assert set(done.weights.deltas) == set(before)
    assert worst(done.weights.deltas, before) < 1e-6
    assert all(layer.outputs == pytest.approx(1, abs=1e-5) for layer in done.layers)
    assert all(layer.inputs == pytest.approx(1, abs=1e-5) for layer in done.layers)
    assert done.strength == pytest.approx(1, abs=1e-6)
    assert all(layer.size == layer.size_there for layer in done.layers)


def test_without_the_projection_every_number_stays_as_it_is(base, other, lora):
    done = transfer_lora(lora, base, other)
    before = read_lora(lora).deltas
    for target, delta in done.weights.deltas.items():
        assert all(torch.equal(a, b) for a, b in zip(delta.tensors(), before[target].tensors(), strict=True))
    assert done.weights.expert == "low_noise"
    assert done.weights.metadata["transferred_from"] == base.name


def test_a_base_that_was_turned_gets_the_lora_turned_with_it(tmp_path, base, lora):
    """W' = R W S with orthogonal R, S of the leading directions' planes: the projection turns the change alike."""
    torch.manual_seed(0)
    weight, change = torch.randn(40, 30), Lora(torch.randn(3, 30), torch.randn(40, 3))
    turn = torch.linalg.qr(torch.randn(40, 40))[0]
    old, new = Subspaces.of(weight, 6), Subspaces.of(turn @ weight, 6)
    up = carried(change.up, old.left, new.left)
    leading = old.left @ (old.left.T @ change.up)
    # Inside the leading directions it lands in the new ones, whole as far as they meet; what stayed outside stays out.
    assert torch.allclose(new.left @ (new.left.T @ up), new.left @ (new.left.T @ leading), atol=1e-5)
    assert alike(old.right, new.right) == pytest.approx(1, abs=1e-5)
    assert alike(old.left, new.left) < 0.9


# ---------------------------------------------------------------------------------------------- the report


def test_unrelated_bases_are_as_alike_as_chance_has_it(base, other, lora):
    done = transfer_lora(lora, base, other, num_directions=8)
    found = sum(layer.alike for layer in done.layers) / len(done.layers)
    chance = sum(layer.by_chance for layer in done.layers) / len(done.layers)
    assert chance < 0.15
    assert found == pytest.approx(chance, abs=0.06)
    text = done.text()
    assert f"used: {len(TARGETS)} of {len(TARGETS)} changes" in text
    assert f"{chance:.3f} by chance" in text
    assert "strength to begin with: 1.0" in text


def test_a_base_that_has_learnt_the_same_already_wants_no_more_of_it(tmp_path, base, lora):
    state = tiny.native_state(tiny.transformer(0))
    for share in (0.25, 1.0):
        tuned = dict(state)
        for target, delta in read_lora(lora).deltas.items():
            tuned[f"{target}.weight"] = state[f"{target}.weight"] + share * delta.dense()
        done = transfer_lora(lora, base, write(tmp_path, tuned, f"tuned_{share}.safetensors"))
        assert done.strength == pytest.approx(1 - share, abs=1e-4)


def test_what_the_new_base_has_no_place_for_is_left_out_and_named(tmp_path, base):
    with_picture = tiny.save_native(tiny.image_transformer(), tmp_path / "i2v.safetensors")
    deltas = dict(read_lora(save_lora(tmp_path / "style.safetensors")).deltas)
    deltas["blocks.0.cross_attn.k_img"] = Full(torch.randn(tiny.WIDTH, tiny.WIDTH))
    done = transfer_lora(LoraWeights(None, "i2v style", deltas), with_picture, base)
    assert done.left_out == ("blocks.0.cross_attn.k_img",)
    assert "left out, as the new base has no place for them: blocks.0.cross_attn.k_img" in done.text()
    assert "blocks.0.cross_attn.k_img" not in done.weights.deltas


def test_norms_and_biases_go_along_and_are_no_layers_of_the_report(base, other):
    deltas = {Q: Lora(torch.randn(2, 64), torch.randn(64, 2)), "blocks.0.norm3": Full(torch.randn(64))}
    deltas["blocks.0.self_attn.q.bias"] = Full(torch.randn(64))
    done = transfer_lora(LoraWeights(None, "mixed", deltas), base, other, project=True)
    assert set(done.weights.deltas) == set(deltas)
    assert [layer.target for layer in done.layers] == [Q]
    assert "not projected: 2 changes" in done.text()
    assert torch.equal(done.weights.deltas["blocks.0.norm3"].diff, deltas["blocks.0.norm3"].diff)


# ---------------------------------------------------------------------------------------------- the judge


@pytest.mark.parametrize(
    ("losses", "kept"), [((3.0, 2.0, 1.5), True), ((3.0, 2.0, 2.0), False), ((3.0, 2.0, 2.5), False)]
)
def test_the_projection_is_kept_only_if_it_lowers_the_loss(base, other, lora, losses, kept):
    values = iter(losses)
    done = transfer_lora(lora, base, other, project=True, judge=lambda weights: next(values))
    before = read_lora(lora).deltas
    assert done.projected is kept
    assert (worst(done.weights.deltas, before) > 1e-3) is kept
    assert ("projected" in done.weights.metadata) is kept
    assert ("not kept" in done.text()) is not kept
    assert vars(done.losses) == dict(zip(("base", "direct", "projected"), losses, strict=True))


def test_without_a_judge_the_projection_says_that_nothing_judged_it(base, other, lora):
    done = transfer_lora(lora, base, other, project=True)
    assert done.projected
    assert "judged on nothing" in done.text()


def test_a_loss_that_is_no_number_is_refused(base, other, lora):
    with pytest.raises(ModelError, match="held-out loss: it came out as nan"):
        transfer_lora(lora, base, other, judge=lambda weights: math.nan)


# ---------------------------------------------------------------------------------------------- refused


def test_a_base_of_another_width_is_refused_and_the_guide_named(tmp_path, base, lora):
    from diffusers import WanTransformer3DModel

    wide = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=32, text_dim=64, ffn_dim=256, num_layers=2
    ).requires_grad_(False)
    with pytest.raises(LoraMismatchError) as error:
        transfer_lora(lora, base, write(tmp_path, tiny.native_state(wide), "wide.safetensors"))
    text = str(error.value)
    assert "its change of 'blocks.0.self_attn.q' is 64x64, and wide.safetensors has 128x128 there" in text
    assert "and 2 more differ" in text
    assert "lora-core generate --guide MODEL --guide-lora LORA" in text


def test_a_lora_of_another_base_than_it_says_is_refused(tmp_path, base, lora):
    deltas = {"blocks.7.self_attn.q": Lora(torch.randn(2, 64), torch.randn(64, 2))}
    with pytest.raises(LoraMismatchError, match=r"has no blocks\.7\.self_attn\.q"):
        transfer_lora(LoraWeights(None, "longer", deltas), base, base)
    with pytest.raises(ModelError, match="is a LoRA file"):
        transfer_lora(lora, lora, base)


def test_no_base_is_ever_whole_in_memory(tmp_path):
    names = [f"layers.{i}.big" for i in range(40)]
    paths = [write(tmp_path, {f"{n}.weight": torch.randn(256, 256) for n in names}, f"{i}.safetensors") for i in (1, 2)]
    deltas = {name: Lora(torch.randn(2, 256), torch.randn(256, 2)) for name in names}
    bases = [open_base(path) for path in paths]  # outside, for the meter takes a mapped file for memory
    work = _Work(*bases, torch.device("cpu"), 4, True)
    with MemoryMeter() as meter:
        for name in names:
            work.layer(name, deltas[name])
    assert meter.peak < 12 * 4 * 256 * 256
