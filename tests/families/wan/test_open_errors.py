"""What is missing or wrong when a model is opened, in one message that says what would do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from lora_core.errors import ModelError
from lora_core.families.wan.open import open_wan


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny.TinyFiles:
    return tiny.save_files(tmp_path_factory.mktemp("files"))


def message(source: object, **arguments: object) -> str:
    with pytest.raises(ModelError) as raised:
        open_wan(source, **arguments)  # type: ignore[arg-type]  # wrong on purpose
    return str(raised.value)


def load_message(source: object) -> str:
    model = open_wan(source)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ModelError) as raised:
        model.expert("low_noise")
    return str(raised.value)


def test_a_missing_source_says_what_may_stand_there(tmp_path: Path) -> None:
    text = message(tmp_path / "no.safetensors")
    assert text.startswith(
        f'{tmp_path}/no.safetensors: no such file or folder ("pocket", a diffusers folder, or a file'
    )


def test_a_missing_twin_says_what_was_looked_for(tmp_path: Path) -> None:
    file = tiny.save_native(tiny.transformer(0), tmp_path / "wan_high_noise.safetensors")
    assert message(file) == (
        f"{file}: the low-noise expert is missing (wan_low_noise.safetensors). "
        "Put it beside this file or name both experts."
    )


def test_exchanged_experts_are_refused(files: tiny.TinyFiles) -> None:
    assert message(files.low, low_noise=files.high) == (
        f"{files.low}: is the low-noise expert, given in the place of tiny_high_noise.safetensors. "
        "Exchange the two files."
    )


def test_a_text_expert_with_an_image_expert_is_no_pair(files: tiny.TinyFiles, tmp_path: Path) -> None:
    low = tiny.save_native(tiny.transformer(1, in_channels=36), tmp_path / "other.safetensors")
    assert message(files.high, low_noise=low) == (
        f"{low}: the low-noise expert is no twin of tiny_high_noise.safetensors: its 'patch_embedding' is 64x36x1x2x2 "
        "(64x16x1x2x2). Give the two files of one model."
    )


def test_a_missing_text_encoder_or_vae_is_named_before_any_work(files: tiny.TinyFiles) -> None:
    model = open_wan(files.high)
    with pytest.raises(ModelError) as raised:
        model.require(text=True)
    assert str(raised.value) == (
        "Wan (width 64, 2 blocks): it was opened without a text encoder (a UMT5 text encoder, such as "
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors). Pass its path as text_encoder."
    )
    with pytest.raises(ModelError, match=re.escape("without a VAE (a Wan VAE, such as wan_2.1_vae.safetensors)")):
        model.vae_decode(torch.zeros(1, 16, 1, 4, 4))
    assert not tiny.is_read(model.experts["high_noise"])


def test_a_folder_without_a_part_names_that_folder(tmp_path: Path) -> None:
    source = tiny.save_folder(tmp_path)
    (source / "vae").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=re.escape(f"(the folder {source / 'vae'})")):
        open_wan(source).require(vae=True)
    (source / "transformer_2").rename(tmp_path / "gone")
    text = (
        f"{source}: the folder 'transformer_2' is missing ({source / 'transformer_2'}/config.json and weights). "
        "Download the model again."
    )
    assert message(source) == text


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    expected = f"{tmp_path}: is no diffusers model folder ({tmp_path}/model_index.json of a diffusers model)"
    assert message(tmp_path).startswith(expected)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    assert "is of the pipeline 'FluxPipeline' (WanPipeline or WanImageToVideoPipeline)" in message(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    assert "cannot be read as JSON" in message(tmp_path)


def test_missing_shards_are_counted(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    assert "2 of 2 shards are missing, first 'model-1.safetensors'" in message(tmp_path)


def test_a_missing_tokenizer_is_named(files: tiny.TinyFiles, tmp_path: Path) -> None:
    text_encoder = tiny.save_text_encoder(tiny.text_encoder(), tmp_path / "umt5.safetensors")
    assert message(files.high, text_encoder=text_encoder) == (
        f"{text_encoder}: no tokenizer for this text encoder ({tmp_path}/tokenizer.json or {tmp_path}/spiece.model). "
        "Put one there or pass its path as tokenizer."
    )
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "is no tokenizer.json" in message(files.high, text_encoder=text_encoder)
    assert "no such file or folder, given as tokenizer" in message(files.high, tokenizer=tmp_path / "no")


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, b"{}" * 100])
def test_damaged_files_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    for name, kind in (("one.safetensors", "safetensors"), ("one.gguf", "GGUF")):
        file = tmp_path / name
        file.write_bytes(content)
        assert message(file).startswith(f"{file}: damaged or no {kind} file: ")
    (tmp_path / "one.pth").write_bytes(content)
    assert message(tmp_path / "one.pth").startswith(f"{tmp_path / 'one.pth'}: no safe PyTorch file of tensors: ")


def test_a_truncated_file_is_told_at_opening(files: tiny.TinyFiles, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    file.write_bytes(files.high.read_bytes()[:-1000])
    assert message(file).startswith(f"{file}: damaged or no safetensors file: ")


def test_a_file_larger_than_the_machine_says_what_helps(files: tiny.TinyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path) -> None:
        raise RuntimeError("unable to mmap 28577104840 bytes: Cannot allocate memory (12)")

    model = open_wan(files.high)
    monkeypatch.setattr("safetensors.torch.load_file", refuse)
    with pytest.raises(ModelError) as raised:
        model.expert("high_noise")
    assert str(raised.value) == (
        f"{files.high}: its 0.0 GB cannot be mapped: unable to mmap 28577104840 bytes: Cannot allocate memory (12). "
        "Add memory or swap, or use an 8-bit or GGUF file."
    )


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "one.pt")
    assert "no safe PyTorch file of tensors" in message(tmp_path / "one.pt")


def test_an_unknown_kind_of_file_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes(b"")
    assert "unknown kind of file '.onnx' (.safetensors, .sft, .pth, .pt, .bin, .gguf)" in message(tmp_path / "one.onnx")


def test_other_models_are_told_from_wan(files: tiny.TinyFiles, tmp_path: Path) -> None:
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, tmp_path / "sdxl.safetensors")
    text = message(tmp_path / "sdxl.safetensors")
    assert "is no Wan transformer, its tensors are named model.diffusion_model.input_blocks.0.0.weight, …" in text
    assert "is no Wan transformer" in message(files.vae)
    assert "is no Wan VAE" in message(files.high, vae=files.text_encoder)
    assert "is no UMT5 text encoder" in message(files.high, text_encoder=files.vae)


@pytest.mark.parametrize(("tensor", "relative"), [("vace_blocks.0.x", "VACE"), ("ref_conv.weight", "Fun control")])
def test_relatives_of_wan_are_refused_by_name(tmp_path: Path, tensor: str, relative: str) -> None:
    state = tiny.native_state(tiny.transformer(0)) | {tensor: torch.zeros(1)}
    save_file(state, tmp_path / "one.safetensors", metadata=tiny.NATIVE_METADATA)
    text = message(tmp_path / "one.safetensors")
    assert f"is a Wan {relative} model, which cannot be opened yet. Choose " in text


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_missing_and_superfluous_tensors_are_counted(tmp_path: Path, kind: str) -> None:
    file = tiny.save_native(tiny.transformer(0), tmp_path / "one.safetensors")
    state = load_file(file)
    del state["blocks.1.self_attn.k.weight"], state["blocks.1.self_attn.k.bias"]
    state["blocks.1.extra"] = torch.zeros(1)
    if kind == "gguf":
        file = tiny.write_gguf(state, tmp_path / "one.gguf")
    else:
        save_file(state, file, metadata=tiny.NATIVE_METADATA)
    assert load_message(file) == (
        f"{file}: 2 tensors are missing, first 'blocks.1.attn1.to_k.weight'; "
        "1 tensors have no place in it, first 'blocks.1.extra'. Download it again, or choose another file."
    )


def test_a_wrong_shape_shows_both(tmp_path: Path) -> None:
    file = tiny.save_native(tiny.transformer(0), tmp_path / "one.safetensors")
    state = load_file(file) | {"blocks.1.ffn.0.bias": torch.zeros(3)}
    save_file(state, file, metadata=tiny.NATIVE_METADATA)
    assert load_message(file).endswith(
        "first 'blocks.1.ffn.net.0.proj.bias' with 3, not 128. Download it again, or choose another file."
    )


def test_a_width_that_is_not_wans_needs_a_head_count(tmp_path: Path) -> None:
    save_file(tiny.native_state(tiny.transformer(0)), tmp_path / "one.safetensors")
    assert "a width of 64 does not divide into heads of 128. State the head count" in message(
        tmp_path / "one.safetensors"
    )


@pytest.mark.parametrize(("config", "fault"), [("{", "is no JSON: "), ("[]", "is a list (a JSON object).")])
def test_metadata_that_is_no_configuration(tmp_path: Path, config: str, fault: str) -> None:
    file = tmp_path / "one.safetensors"
    save_file(tiny.native_state(tiny.transformer(0)), file, metadata={"config": config})
    assert message(file).startswith(f"{file}: its metadata entry 'config' {fault}")


def test_a_checkpoint_with_half_its_names_says_which_is_missing(tmp_path: Path) -> None:
    state = tiny.native_state(tiny.transformer(0))
    save_file({name: tensor for name, tensor in state.items() if "ffn" not in name}, tmp_path / "one.safetensors")
    text = (
        f"{tmp_path}/one.safetensors: no tensor 'blocks.0.ffn.0', which every Wan transformer has. "
        "Choose a Wan model, or download it again."
    )
    assert message(tmp_path / "one.safetensors") == text


def test_pieces_of_another_size_do_not_fit(files: tiny.TinyFiles, tmp_path: Path) -> None:
    vae = tiny.save_vae(tiny.vae(large=True), tmp_path / "vae.safetensors")
    assert "a VAE of 48 latent channels for Wan (width 64, 2 blocks) (16 channels)" in message(files.high, vae=vae)
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(vocab_size=32, d_model=32, d_kv=16, num_heads=4, num_layers=1, d_ff=32)
    other = tiny.save_text_encoder(UMT5EncoderModel(config), tmp_path / "umt5.safetensors", with_tokenizer=True)
    assert "a text encoder of width 32 for Wan (width 64, 2 blocks) (width 64)" in message(
        files.high, text_encoder=other
    )


def test_arguments_out_of_range(files: tiny.TinyFiles) -> None:
    unknown = "offload: unknown mode 'disk' (one of none, experts, blocks). Choose one of them."
    assert message(files.high, offload="disk") == unknown
    assert message(files.high, device="qpu").startswith("device: 'qpu' cannot be used: ")
    missing = "/no/vae.safetensors: no such file or folder, given as vae. Check the path."
    assert message(files.high, vae="/no/vae.safetensors") == missing
    with pytest.raises(ModelError, match=r"it has no 'middle' expert \(high_noise and low_noise\)"):
        open_wan(files.high).expert("middle")  # type: ignore[arg-type]  # wrong on purpose


def test_one_file_given_as_both_experts_is_refused(tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    with pytest.raises(ModelError, match="is given as both experts"):
        open_wan(files.high, low_noise=files.high)
