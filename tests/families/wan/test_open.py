"""Opening: every form of a model gives the same output on the same input as the module it was written from."""

from __future__ import annotations

import copy
import logging
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import random_deltas
import tiny
import torch
from torch import Tensor, nn

from lora_core.apply.attachment import attach
from lora_core.checkpoints import residency
from lora_core.checkpoints.fp8 import ScaledFp8Linear
from lora_core.checkpoints.residency import OFFLOADS
from lora_core.deltas import Delta
from lora_core.families.pieces import opening
from lora_core.families.registry import spec_of_module
from lora_core.families.wan.open import open_wan


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"something reached for the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny.TinyFiles:
    return tiny.save_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_folder(tmp_path_factory.mktemp("folder"))


def only_expert(path: Path) -> nn.Module:
    return open_wan(path).expert("low_noise")


# ---------------------------------------------------------------------------------------------- experts


def test_two_native_files_give_two_experts(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high, **files.arguments())
    assert (model.spec.boundary, model.spec.num_experts, model.spec.name) == (0.875, 2, "wan-custom")
    tiny.assert_alike(tiny.run(model.expert("high_noise")), tiny.run(tiny.transformer(0)))
    tiny.assert_alike(tiny.run(model.expert("low_noise"), sigma=0.5), tiny.run(tiny.transformer(1), sigma=0.5))


@pytest.mark.parametrize("given", ["high", "low"])
def test_the_twin_is_found_beside_either_file(files: tiny.TinyFiles, given: str) -> None:
    model = open_wan(getattr(files, given))
    tiny.assert_alike(tiny.run(model.expert("high_noise")), tiny.run(tiny.transformer(0)))


def test_a_single_file_is_one_expert_for_all_sigmas(tmp_path: Path) -> None:
    model = open_wan(tiny.save_native(tiny.transformer(0), tmp_path / "one.safetensors"))
    assert model.spec.boundary is None
    assert list(model.experts) == ["low_noise"]


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", ""])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_prefixes_and_float_types_are_read(tmp_path: Path, prefix: str, dtype: torch.dtype) -> None:
    network = only_expert(
        tiny.save_native(tiny.transformer(0), tmp_path / "one.safetensors", dtype=dtype, prefix=prefix)
    )
    reference = copy.deepcopy(tiny.transformer(0))
    reference.load_state_dict({name: tensor.to(dtype).float() for name, tensor in reference.state_dict().items()})
    tiny.assert_alike(tiny.run(network), tiny.run(reference))


def test_a_single_file_in_diffusers_naming_is_read(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    state = dict(tiny.transformer(0).state_dict())
    from safetensors.torch import save_file

    save_file(state, file, metadata=tiny.NATIVE_METADATA)
    tiny.assert_alike(tiny.run(only_expert(file)), tiny.run(tiny.transformer(0)))


def test_a_torch_file_of_tensors_is_read(tmp_path: Path) -> None:
    wide = tiny.transformer(0)
    torch.save(tiny.native_state(wide), tmp_path / "one.pth")
    with pytest.raises(Exception, match="a width of 64 does not divide into heads of 128"):
        open_wan(tmp_path / "one.pth")  # such a file cannot state its head count; real widths need no statement


@pytest.mark.parametrize("form", ["scaled", "comfy_quant", "metadata", "plain"])
def test_8_bit_files_compute_with_their_dequantised_weights(tmp_path: Path, form: str) -> None:
    network = only_expert(tiny.save_fp8(tiny.transformer(0), tmp_path / "one.safetensors", form))
    layer = network.get_submodule("blocks.0.ffn.net.2")
    assert isinstance(layer, ScaledFp8Linear)
    assert layer.weight.dtype == torch.float8_e4m3fn
    reference = copy.deepcopy(tiny.transformer(0))
    reference.load_state_dict(tiny.fp8_reference(reference, scaled=form != "plain"))
    torch.testing.assert_close(tiny.run(network), tiny.run(reference), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("quantised", "tolerance"), [("Q8_0", 0.01), ("Q4_0", 0.1), ("BF16", 0.01), ("F32", 1e-6)])
def test_gguf_files_are_read(tmp_path: Path, quantised: str, tolerance: float) -> None:
    model = open_wan(tiny.save_gguf(tiny.transformer(0), tmp_path / "one.gguf", quantised), offload="experts")
    output = tiny.run(model.expert("low_noise"))
    assert (output - tiny.run(tiny.transformer(0))).abs().max() < tolerance
    model.release()
    assert torch.equal(tiny.run(model.expert("low_noise")), output)


@pytest.mark.parametrize(
    ("two_experts", "in_channels", "boundary"), [(True, 16, 0.875), (True, 36, 0.9), (False, 16, None)]
)
def test_diffusers_folders_state_their_boundary(
    tmp_path: Path, two_experts: bool, in_channels: int, boundary: float | None
) -> None:
    source = tiny.save_folder(tmp_path, two_experts=two_experts, in_channels=in_channels, boundary_ratio=boundary)
    model = open_wan(source)
    assert (model.spec.boundary, model.spec.image_conditioned) == (boundary, in_channels == 36)
    assert model.spec.default_shift == 3.0, "the folder's scheduler says so"
    name = "high_noise" if two_experts else "low_noise"
    tiny.assert_alike(tiny.run(model.expert(name)), tiny.run(tiny.transformer(0, in_channels=in_channels)))


def test_a_half_precision_folder_has_the_dtypes_diffusers_gives_it(folder: Path) -> None:
    from diffusers import WanTransformer3DModel

    ours = open_wan(folder, dtype=torch.bfloat16).expert("high_noise")
    theirs = WanTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=torch.bfloat16)
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert parameter.dtype == expected[name].dtype, name
        assert torch.equal(parameter, expected[name])


def test_sharded_folders_are_read(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    tiny.transformer(0).save_pretrained(tmp_path / "model" / "transformer", max_shard_size="100KB")
    (tmp_path / "model" / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert len(list((tmp_path / "model" / "transformer").glob("*.safetensors"))) > 2
    tiny.assert_alike(tiny.run(open_wan(tmp_path / "model").expert("high_noise")), tiny.run(tiny.transformer(0)))


def test_wan_2_1_i2v_has_its_image_branch(tmp_path: Path) -> None:
    module = tiny.transformer(0, in_channels=36, image_branch=True)
    model = open_wan(tiny.save_native(module, tmp_path / "i2v.safetensors"))
    assert model.spec.why_absent("blocks.0.cross_attn.k_img") is None
    ours = tiny.run(model.expert("low_noise"), image_tokens=257)
    tiny.assert_alike(ours, tiny.run(module, image_tokens=257))


def test_ti2v_5b_has_48_channels_and_a_larger_stride(tmp_path: Path) -> None:
    from_folder = open_wan(tiny.save_folder(tmp_path / "5b", two_experts=False, in_channels=48, large_vae=True))
    from_files = open_wan(
        tiny.save_native(tiny.transformer(0, in_channels=48, out_channels=48), tmp_path / "5b.safetensors"),
        vae=tiny.save_vae(tiny.vae(large=True), tmp_path / "vae.safetensors"),
    )
    latents = torch.randn(1, 48, 2, 2, 2)
    for model in (from_folder, from_files):
        assert model.spec.expand_timesteps
        assert (model.spec.vae_stride, model.spec.latent_channels) == ((4, 16, 16), 48)
        assert model.vae_decode(latents).shape == (1, 3, 5, 32, 32)
    assert torch.equal(from_folder.vae_decode(latents), from_files.vae_decode(latents))
    assert torch.equal(from_folder.normalise(latents), from_files.normalise(latents))


FORMS = {
    "native": lambda path: tiny.save_native(tiny.transformer(0), path / "one.safetensors"),
    "8-bit": lambda path: tiny.save_fp8(tiny.transformer(0), path / "one.safetensors", "scaled"),
    "gguf": lambda path: tiny.save_gguf(tiny.transformer(0), path / "one.gguf"),
}


@pytest.mark.parametrize("offload", OFFLOADS)
@pytest.mark.parametrize("form", FORMS)
def test_a_stack_acts_on_every_form_in_every_offload_mode(tmp_path: Path, form: str, offload: str) -> None:
    model = open_wan(FORMS[form](tmp_path), offload=offload)
    network = model.expert("low_noise")
    assert spec_of_module(network).shapes == model.spec.shapes, "packed weights count as what they unpack to"
    before = tiny.run(network)
    deltas = {name: random_deltas.lora(model.spec.shapes[name]) for name in ("blocks.1.self_attn.q", "blocks.0.ffn.2")}
    with attach(network, [Acting("lora", deltas, 1.0)], model.spec):
        changed = tiny.run(network)
    assert torch.equal(tiny.run(network), before)
    reference = copy.deepcopy(tiny.transformer(0))
    for target, delta in deltas.items():
        path, name = model.spec.parameter_path(target, reference)
        getattr(reference.get_submodule(path), name).add_(delta.dense())
    tolerance = 1e-4 if form == "native" else 0.03
    torch.testing.assert_close(changed, tiny.run(reference), rtol=0, atol=tolerance)
    assert (changed - before).abs().max() > 2 * tolerance


@dataclass(frozen=True)
class Acting:
    """What `attach` needs of a LoRA."""

    name: str
    deltas: Mapping[str, Delta]
    strength: float
    factors: Mapping[str, float] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------- text and VAE


def test_prompts_are_encoded_as_diffusers_pipeline_does(folder: Path, files: tiny.TinyFiles) -> None:
    from diffusers import WanPipeline

    prompts = ["a red circle moves  left", "zibbo"]
    expected, _ = WanPipeline.from_pretrained(folder).encode_prompt(
        prompts, do_classifier_free_guidance=False, max_sequence_length=512, device="cpu"
    )
    for model in (open_wan(folder), open_wan(files.high, **files.arguments())):
        embeds = model.encode_text(prompts)
        assert embeds.shape == (2, 512, tiny.TEXT_WIDTH)
        torch.testing.assert_close(embeds, expected, rtol=0, atol=1e-5)
        assert not embeds[1, 2:].any(), "zero beyond 'zibbo </s>'"


def test_a_prompt_beyond_512_tokens_is_cut_and_counted(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high, **files.arguments())
    assert model.encode_text("red " * 600).shape == (1, 512, tiny.TEXT_WIDTH)
    assert model.num_tokens("red " * 600) == 601


def test_unknown_words_are_reported(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high, **files.arguments())
    assert model.unknown_words("A red giraffe, a pink giraffe!") == ("giraffe", "pink")
    assert model.unknown_words("a red circle") == ()


@pytest.mark.parametrize("fp8", [False, True])
def test_a_text_encoder_file_may_carry_its_tokenizer_and_8_bit_weights(
    files: tiny.TinyFiles, tmp_path: Path, fp8: bool
) -> None:
    source = tiny.save_text_encoder(tiny.text_encoder(), tmp_path / "umt5.safetensors", with_tokenizer=True, fp8=fp8)
    (tmp_path / "spiece.model").write_bytes(tiny.spiece_model())
    plain = tiny.save_text_encoder(tiny.text_encoder(), tmp_path / "plain.safetensors")
    model = open_wan(files.high, text_encoder=source)
    beside = open_wan(files.high, text_encoder=plain)
    assert model.num_tokens("a red circle") == beside.num_tokens("a red circle")
    difference = (model.encode_text("a red circle") - beside.encode_text("a red circle")).abs().max()
    assert 1e-5 < difference < 0.5 if fp8 else difference == 0


def test_the_vae_takes_frames_to_raw_latents_and_back(folder: Path, files: tiny.TinyFiles) -> None:
    frames = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = tiny.vae().encode(frames).latent_dist.mode()
    for model in (open_wan(folder), open_wan(files.high, **files.arguments())):
        latents = model.vae_encode(frames)
        assert torch.equal(latents, expected)
        assert torch.equal(model.vae_decode(latents), tiny.vae().decode(latents).sample)


def test_normalising_is_that_of_wan_and_reversible(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high)
    latents = torch.randn(2, 16, 3, 4, 4)
    config = tiny.vae().config
    mean, std = (torch.tensor(config[name]).view(1, 16, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    torch.testing.assert_close(model.normalise(latents), (latents - mean) / std)
    torch.testing.assert_close(model.denormalise(model.normalise(latents)), latents, rtol=0, atol=1e-5)


# ---------------------------------------------------------------------------------------------- where networks are


@pytest.mark.parametrize("offload", OFFLOADS)
def test_every_offload_mode_gives_the_same_result(files: tiny.TinyFiles, offload: str) -> None:
    model = open_wan(files.high, offload=offload, **files.arguments())
    results: list[Tensor] = []
    for name in ("high_noise", "low_noise", "high_noise"):
        results += [
            tiny.run(model.expert(name)),
            model.encode_text("a red circle"),
            model.vae_decode(torch.ones(1, 16, 1, 4, 4)),
        ]
    plain = open_wan(files.high, **files.arguments())
    expected = [tiny.run(plain.expert("high_noise")), plain.encode_text("a red circle")]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(results[:2], expected, strict=True))
    assert torch.equal(results[0], results[6])
    tiny.assert_alike(results[3], tiny.run(tiny.transformer(1)))


def test_nothing_is_read_before_it_is_used(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high, **files.arguments())
    high, low = model.experts["high_noise"], model.experts["low_noise"]
    assert model.text is not None
    assert model.vae is not None
    assert not any(tiny.is_read(piece) for piece in (high, low, model.text.piece, model.vae.piece))
    model.expert("high_noise")
    assert tiny.is_read(high)
    assert not tiny.is_read(low)
    assert not tiny.is_read(model.text.piece)


def test_with_offloading_one_piece_is_active_at_a_time(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high, offload="experts", **files.arguments())
    model.expert("high_noise")
    model.encode_text("a red circle")
    assert not model.experts["high_noise"].is_active
    model.expert("low_noise")
    assert model.text is not None
    assert not model.text.piece.is_active
    model.release()
    assert not model.experts["low_noise"].is_active


def test_rest_gives_back_the_stored_tensors(tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path, dtype=torch.float16)
    model = open_wan(files.high, offload="experts", **files.arguments())
    weight = model.expert("high_noise").get_parameter("proj_out.weight")
    assert weight.dtype == torch.float32
    model.expert("low_noise")
    assert weight.dtype == torch.float16, "only the memory-mapped file is left of it"
    again = model.expert("high_noise").get_parameter("proj_out.weight")
    assert again is weight
    assert weight.dtype == torch.float32


def test_in_blocks_the_networks_stay_on_the_cpu_and_their_groups_travel(
    files: tiny.TinyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    offloaded = []
    monkeypatch.setattr(residency, "_offload_groups", lambda module, device, grain: offloaded.append((device, grain)))
    monkeypatch.setattr(opening, "usable_device", torch.device)
    model = open_wan(files.high, offload="blocks", device="cuda", dtype=torch.float32, **files.arguments())
    for name in ("high_noise", "low_noise", "high_noise"):
        assert {parameter.device.type for parameter in model.expert(name).parameters()} == {"cpu"}
    assert offloaded == [(torch.device("cuda"), "block_level")] * 2, "once for each expert"
    assert model.text is not None
    model.text.piece.use()
    assert offloaded[2:] == [(torch.device("cuda"), "leaf_level")]


@pytest.mark.usefixtures("some_accelerator")
@pytest.mark.parametrize("grain", ["block_level", "leaf_level"])
def test_groups_that_travel_compute_the_same(grain: residency.Grain) -> None:
    module = copy.deepcopy(tiny.transformer(0))
    residency._offload_groups(module, torch.device("cpu"), grain)
    tiny.assert_alike(tiny.run(module), tiny.run(tiny.transformer(0)))


def test_a_placement_that_fails_half_way_leaves_everything_at_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tiny.save_files(tmp_path, dtype=torch.float16)
    model = open_wan(files.high, offload="experts", **files.arguments())
    network = model.expert("high_noise")
    model.release()
    calls = 0
    real = torch.Tensor.to

    def fail_at_the_tenth(self: Tensor, *arguments: object, **keywords: object) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise torch.OutOfMemoryError("no more")
        return real(self, *arguments, **keywords)

    monkeypatch.setattr(torch.Tensor, "to", fail_at_the_tenth)
    with pytest.raises(torch.OutOfMemoryError):
        model.expert("high_noise")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float16}
    assert not model.experts["high_noise"].is_active


def test_opening_logs_one_line(files: tiny.TinyFiles, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lora_core"):
        open_wan(files.high)
    assert len(caplog.records) == 1
