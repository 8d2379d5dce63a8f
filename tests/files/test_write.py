"""Writing: what is read back is what was written, in every dialect, whole or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import random_deltas
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from spellings import SPELLINGS, TARGETS, random_pairs, save, spelled

from lora_core.deltas import Delta, Dora, Full, Lora
from lora_core.errors import LoraFileError, OutputError, UnsupportedLoraError
from lora_core.families.wan.spec import wan_spec
from lora_core.files import write
from lora_core.files.read import read_lora
from lora_core.files.weights import LoraWeights
from lora_core.files.write import write_lora

POCKET = wan_spec("wan-pocket")
DIALECTS = ("comfyui", "kohya", "diffusers", "peft")
PATCH = ("patch_embedding", (128, 16, 1, 2, 2))
Q, FFN = "blocks.0.self_attn.q", "blocks.3.ffn.0"


def weights(deltas: dict[str, Delta], **fields) -> LoraWeights:
    return LoraWeights(path=None, name="made", deltas=deltas, **fields)


def assert_same(first: Delta, second: Delta) -> None:
    assert type(first) is type(second)
    base = torch.randn(second.shape, generator=torch.Generator().manual_seed(1))
    # A convolution's factors that were flat are read in the shape of their target.
    expected = first.dense(base).reshape(second.shape)
    torch.testing.assert_close(second.dense(base), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


#: name of the kind -> (target, what makes it)
MADE = {name: (FFN, (512, 128), make) for name, make in random_deltas.LINEAR.items() if "placed" not in name} | {
    f"convolution {name}": (*PATCH, make) for name, make in random_deltas.CONVOLUTION.items() if "placed" not in name
}
#: What each dialect cannot express, in the words of its refusal.
CANNOT = {
    "diffusers": {
        "loha": "a LoHa",
        "lokr": "a LoKr",
        "full": "a difference in full",
        "tucker": "a LoHa with a Tucker core",
        "on_inputs": "a DoRA whose magnitude belongs to the inputs",
        "dora_of_lokr": "a DoRA of LoKr",
        "dora_of_loha": "a DoRA of LoHa",
        "glora": "a GLoRA",
        "oft": "a OFT",
        "replacement": "a replacement of a weight",
        "dora_of_glora": "a DoRA of GLoRA",
    },
}
CANNOT["peft"] = {key: said for key, said in CANNOT["diffusers"].items() if key != "loha"}


def refusal(dialect: str, kind: str) -> str:
    """Return why a dialect cannot express a kind of `MADE`, the most telling reason, or ""."""
    reasons = [said for key, said in CANNOT.get(dialect, {}).items() if key in kind]
    return max(reasons, key=len, default="") if "dora_of" not in kind else reasons[-1] if reasons else ""


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_kind_is_read_back_as_written_or_refused_by_name(dialect: str, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    target, shape, make = MADE[kind]
    delta = make(shape)
    path = tmp_path / dialect / "x.safetensors"
    said = refusal(dialect, kind)
    if said:
        with pytest.raises(UnsupportedLoraError) as caught:
            write_lora(weights({target: delta}), path, dialect=dialect)
        assert str(caught.value).startswith(f"{path}: 1 delta cannot be written in the {dialect} dialect: {target} (a ")
        assert not path.exists()
        return
    write_lora(weights({target: delta}), path, dialect=dialect)
    back = read_lora(path, spec=POCKET).deltas
    assert list(back) == [target]
    assert_same(delta, back[target])


@settings(max_examples=25, deadline=None)
@given(
    dialect=st.sampled_from(DIALECTS),
    rank=st.integers(1, 6),
    scale=st.sampled_from([1.0, 0.125, 2.0, 0.3, 1 / 3, -1.5, 7.7, 1e-3]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_reading_undoes_writing(dialect, rank, scale, dtype, seed, tmp_path_factory) -> None:
    pairs = random_pairs(rank, seed)
    made = {target: Lora(down.to(dtype), up.to(dtype), None, scale) for target, (down, up) in pairs.items()}
    path = tmp_path_factory.mktemp("w") / "x.safetensors"
    back = read_lora(write_lora(weights(made), path, dialect=dialect), spec=POCKET).deltas
    assert set(back) == set(TARGETS)
    for target, delta in made.items():
        assert_same(delta, back[target])
        if dialect in ("comfyui", "kohya"):
            assert torch.equal(back[target].down, delta.down)
            assert torch.equal(back[target].up, delta.up)
            assert back[target].scale == pytest.approx(scale, rel=1e-6)


def test_every_reader_finds_the_scale(tmp_path: Path) -> None:
    made = weights({Q: Lora(torch.ones(4, 128).bfloat16(), torch.ones(128, 4).bfloat16(), None, 0.125)})
    comfy = load_file(write_lora(made, tmp_path / "c.safetensors"))
    assert comfy[f"diffusion_model.{Q}.alpha"].item() == 0.5
    diffusers = load_file(write_lora(made, tmp_path / "d.safetensors", dialect="diffusers"))
    assert set(diffusers) == {f"transformer.blocks.0.attn1.to_q.lora_{half}.weight" for half in "AB"}
    up = diffusers["transformer.blocks.0.attn1.to_q.lora_B.weight"]
    assert up.dtype == torch.bfloat16  # a power of two is exact in any dtype
    assert torch.equal(up, torch.full((128, 4), 0.125).bfloat16())
    third = weights({Q: Lora(torch.ones(3, 128).bfloat16(), torch.ones(128, 3).bfloat16(), None, 1 / 3)})
    tensors = load_file(write_lora(third, tmp_path / "e.safetensors", dialect="diffusers"))
    assert tensors["transformer.blocks.0.attn1.to_q.lora_B.weight"].dtype == torch.float32


def test_diffusers_is_told_ranks_that_differ(tmp_path: Path) -> None:
    # Left to guess, diffusers 0.36 takes the first module's rank for the alpha of all.
    first, second, low_noise = (Lora(torch.randn(rank, 128), torch.randn(128, rank)) for rank in (2, 4, 4))
    high, low = {Q: first, "blocks.0.self_attn.k": second}, {Q: low_noise}
    made = weights(high, low_noise_deltas=low, expert="both")
    back = read_lora(write_lora(made, tmp_path / "x.safetensors", dialect="diffusers"), spec=POCKET)
    stated = json.loads(back.metadata["lora_adapter_metadata"])
    assert stated["transformer.r"] == stated["transformer.lora_alpha"] == 4
    assert stated["transformer.rank_pattern"] == stated["transformer.alpha_pattern"] == {"blocks.0.attn1.to_q": 2}
    assert stated["transformer_2.r"] == stated["transformer_2.lora_alpha"] == 4
    assert stated["transformer_2.rank_pattern"] == {}
    assert_same(high[Q], back.for_expert("high_noise")[Q])
    alike = read_lora(write_lora(weights(low), tmp_path / "y.safetensors", dialect="diffusers"), spec=POCKET)
    assert "lora_adapter_metadata" not in alike.metadata


def test_scale_in_the_metadata_is_not_applied_again(tmp_path: Path) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"r": 4, "lora_alpha": 2}), "ss_network_alpha": "2", "note": "kept"}
    tensors = spelled(SPELLINGS["diffusion-pipe"], random_pairs(4), alpha=4.0)
    first = read_lora(save(tmp_path / "x.safetensors", tensors, metadata), spec=POCKET)
    assert {delta.scale for delta in first.deltas.values()} == {0.5}
    for dialect in DIALECTS:
        path = write_lora(first, tmp_path / dialect / "y.safetensors", dialect=dialect)
        back = read_lora(path, spec=POCKET)
        assert back.metadata["note"] == "kept"
        for target in TARGETS:
            assert_same(first.deltas[target], back.deltas[target])


@pytest.mark.parametrize("dialect", ["comfyui", "peft"])
def test_kohyas_alpha_in_the_metadata_is_not_kept_for_a_delta_that_has_none_of_its_own(
    dialect: str, tmp_path: Path
) -> None:
    """PEFT's LoHa has kohya's names without alphas, and a LoKr in full has no rank to divide one by."""
    metadata = {"ss_network_alpha": "2", "ss_network_dim": "4", "note": "kept"}
    delta = random_deltas.lokr((512, 128)) if dialect == "comfyui" else random_deltas.loha((512, 128))
    path = write_lora(weights({FFN: delta}, metadata=metadata), tmp_path / "x.safetensors", dialect=dialect)
    back = read_lora(path, spec=POCKET)
    assert_same(delta, back.deltas[FFN])
    assert back.metadata["note"] == "kept"


def test_bias_differences_ride_on_the_lora_of_their_weight(tmp_path: Path) -> None:
    pair = {Q: Lora(torch.randn(4, 128), torch.randn(128, 4), None, 0.5), f"{Q}.bias": Full(torch.randn(128))}
    for dialect in DIALECTS:
        path = write_lora(weights(pair), tmp_path / dialect / "x.safetensors", dialect=dialect)
        back = read_lora(path, spec=POCKET).deltas
        assert torch.equal(back[f"{Q}.bias"].dense(), pair[f"{Q}.bias"].dense())
        assert_same(pair[Q], back[Q])
    with pytest.raises(UnsupportedLoraError, match="the difference of a bias whose weight has no LoRA"):
        write_lora(weights({f"{Q}.bias": pair[f"{Q}.bias"]}), tmp_path / "x.safetensors", dialect="diffusers")


def test_bare_parameters_are_written_where_readers_know_them(tmp_path: Path) -> None:
    made = weights({"blocks.0.modulation": Full(torch.randn(1, 6, 128)), "blocks.0.norm3": Full(torch.randn(128))})
    path = write_lora(made, tmp_path / "x.safetensors")
    assert set(load_file(path)) == {
        "diffusion_model.blocks.0.modulation.diff",
        "diffusion_model.blocks.0.norm3.diff",
    }
    with pytest.raises(UnsupportedLoraError) as caught:
        write_lora(made, tmp_path / "y.safetensors", dialect="kohya")
    assert str(caught.value) == (
        f"{tmp_path / 'y.safetensors'}: 1 delta cannot be written in the kohya dialect: "
        "blocks.0.modulation (a bare parameter). Write the comfyui dialect, which expresses every kind."
    )


def test_both_experts_go_into_one_file_where_the_dialect_has_two(tmp_path: Path) -> None:
    high, low = ({Q: Lora(torch.randn(2, 128), torch.randn(128, 2))} for _ in range(2))
    made = weights(high, low_noise_deltas=low, expert="both")
    back = read_lora(write_lora(made, tmp_path / "x.safetensors", dialect="diffusers"), spec=POCKET)
    assert back.expert == "both"
    assert_same(high[Q], back.for_expert("high_noise")[Q])
    assert_same(low[Q], back.for_expert("low_noise")[Q])
    for dialect in ("comfyui", "kohya", "peft"):
        with pytest.raises(UnsupportedLoraError) as caught:
            write_lora(made, tmp_path / "y.safetensors", dialect=dialect)
        assert str(caught.value) == (
            f"{tmp_path / 'y.safetensors'}: the weights hold both experts, and the {dialect} dialect has one expert "
            "per file. Write weights.only('high_noise') and weights.only('low_noise')."
        )
    path = write_lora(made.only("low_noise"), tmp_path / "z.safetensors")
    assert read_lora(path, spec=POCKET).expert == "low_noise"


def test_metadata_is_written_and_the_expert_with_it(tmp_path: Path) -> None:
    made = weights({Q: random_deltas.lora((128, 128))}, expert="high_noise", metadata={"kind": "style", "a": "1"})
    path = write_lora(made, tmp_path / "x.safetensors", metadata={"a": "2", "trigger_words": "zibbo"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "kind": "style",
            "expert": "high_noise",
            "a": "2",
            "trigger_words": "zibbo",
        }
    back = read_lora(path, spec=POCKET)
    assert (back.purpose, back.trigger_words, back.expert) == ("style", ("zibbo",), "high_noise")


def test_a_lora_of_any_other_model_is_written_too(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Conv2d(2, 4, 3))
    made = weights({"0": random_deltas.lora((16, 8)), "1": random_deltas.lora((4, 2, 3, 3))})
    for dialect in DIALECTS:
        path = write_lora(made, tmp_path / dialect / "x.safetensors", dialect=dialect)
        back = read_lora(path, spec=net).deltas
        assert_same(made.deltas["1"], back["1"])


def test_the_peft_dialect_has_its_configuration_beside_it(tmp_path: Path) -> None:
    made = weights({Q: random_deltas.lora((128, 128), rank=3), FFN: random_deltas.lora((512, 128), rank=5)})
    write_lora(made, tmp_path / "adapter_model.safetensors", dialect="peft")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 5
    assert config["rank_pattern"] == config["alpha_pattern"] == {"blocks.0.attn1.to_q": 3}
    write_lora(made, tmp_path / "adapter_model.safetensors", dialect="peft")
    with pytest.raises(OutputError) as caught:
        write_lora(made, tmp_path / "other.safetensors", dialect="peft")
    assert str(caught.value) == (
        f"{tmp_path / 'other.safetensors'}: the adapter_config.json beside it belongs to another adapter. "
        "Write into a folder of its own."
    )


def test_kernels_of_three_axes_are_stored_as_readers_for_images_take_them(tmp_path: Path) -> None:
    # ComfyUI 0.33 gets `lora_mid` and `lokr_w2` right for kernels of two axes, and for flat ones of any.
    lokr, mid = random_deltas.lokr(PATCH[1]), random_deltas.lora_with_mid(PATCH[1])
    tensors = load_file(write_lora(weights({PATCH[0]: lokr}), tmp_path / "a.safetensors"))
    assert tensors["diffusion_model.patch_embedding.lokr_w2"].shape == (64, 8 * 4)
    tensors = load_file(write_lora(weights({PATCH[0]: mid}), tmp_path / "b.safetensors"))
    assert tensors["diffusion_model.patch_embedding.lora_down.weight"].shape == (3, 16, 1, 2, 2)
    image = random_deltas.lora_with_mid((8, 4, 3, 3))
    tensors = load_file(write_lora(weights({"conv": image}), tmp_path / "c.safetensors"))
    assert tensors["diffusion_model.conv.lora_mid.weight"].shape == (3, 3, 3, 3)


def test_kinds_side_by_side_are_not_one_peft_adapter(tmp_path: Path) -> None:
    made = weights({Q: random_deltas.lora((128, 128)), FFN: random_deltas.loha((512, 128))})
    with pytest.raises(UnsupportedLoraError, match="a LoHa beside other kinds, and PEFT has one kind per adapter"):
        write_lora(made, tmp_path / "x.safetensors", dialect="peft")
    made = weights({Q: random_deltas.lora((128, 128)), FFN: random_deltas.dora((512, 128))})
    for dialect in ("peft", "diffusers"):
        with pytest.raises(UnsupportedLoraError, match="a LoRA beside a DoRA, and PEFT has one kind per adapter"):
            write_lora(made, tmp_path / "x.safetensors", dialect=dialect)


# ---- whole or not at all


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("step", ["save_tensors", "_compare"])
def test_whatever_interrupts_leaves_the_old_file_and_no_other(
    step: str, interruption: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")

    def interrupted(*args: object) -> None:
        original(*args)
        raise interruption

    original = getattr(write, step)
    monkeypatch.setattr(write, step, interrupted)
    made = weights({Q: random_deltas.lora((128, 128))})
    with pytest.raises((KeyboardInterrupt, OutputError)) as caught:
        write_lora(made, path)
    if isinstance(interruption, OSError):
        assert "No space left on device" in str(caught.value)
    assert entries(tmp_path) == ["x.safetensors"]
    assert path.read_bytes() == b"old"


def test_a_file_that_reads_back_differently_is_never_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tensors = write.save_tensors
    monkeypatch.setattr(
        write,
        "save_tensors",
        lambda tensors, *args, **kwargs: save_tensors(
            {name: tensor + 1 for name, tensor in tensors.items()}, *args, **kwargs
        ),
    )
    with pytest.raises(OutputError, match=r"blocks\.0\.self_attn\.q was written and read back differently"):
        write_lora(weights({Q: random_deltas.lora((128, 128))}), tmp_path / "x.safetensors")
    assert entries(tmp_path) == []


def test_a_folder_that_cannot_be_made_or_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        write_lora(weights({Q: random_deltas.lora((128, 128))}), tmp_path / "file" / "x.safetensors")
    assert "its folder cannot be made: " in str(caught.value)
    assert str(caught.value).endswith("Choose another folder.")


def test_what_write_lora_does_not_take(tmp_path: Path) -> None:
    made = weights({Q: random_deltas.lora((128, 128))})
    with pytest.raises(LoraFileError, match="dialect: unknown value 'comfy'"):
        write_lora(made, tmp_path / "x.safetensors", dialect="comfy")  # type: ignore[arg-type]  # the point
    with pytest.raises(OutputError, match=r"LoRA files are not written as '\.pt' \(\.safetensors\)"):
        write_lora(made, tmp_path / "x.pt")
    with pytest.raises(LoraFileError, match="there are no deltas to write"):
        write_lora(weights({}), tmp_path / "x.safetensors")


def test_a_file_may_be_converted_in_its_place(tmp_path: Path) -> None:
    pairs = random_pairs(4)
    path = save(tmp_path / "x.safetensors", spelled(SPELLINGS["musubi-tuner"], pairs, 2.0))
    first = read_lora(path, spec=POCKET)
    write_lora(first, path, dialect="diffusers")
    back = read_lora(path, spec=POCKET)
    assert back.dialect == "diffusers"
    for target, (down, up) in pairs.items():
        torch.testing.assert_close(back.deltas[target].dense(), 0.5 * (up @ down))


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    both = torch.randn(8, 128)
    made = weights({Q: Lora(both[:4], both[4:].T)})
    assert_same(made.deltas[Q], read_lora(write_lora(made, tmp_path / "x.safetensors"), spec=POCKET).deltas[Q])


def test_a_magnitude_is_written_as_its_readers_multiply_it(tmp_path: Path) -> None:
    made = weights({FFN: random_deltas.dora((512, 128))})
    assert isinstance(made.deltas[FFN], Dora)
    comfy = load_file(write_lora(made, tmp_path / "x.safetensors"))
    assert comfy[f"diffusion_model.{FFN}.dora_scale"].shape == (512, 1)
    peft = load_file(write_lora(made, tmp_path / "peft" / "x.safetensors", dialect="peft"))
    assert peft["base_model.model.blocks.3.ffn.net.0.proj.lora_magnitude_vector"].shape == (512,)
