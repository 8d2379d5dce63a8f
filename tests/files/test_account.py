"""Account and verdict: every tensor has a record, and what is wrong with a file is said in one message."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from spellings import AB, DOWN_UP, SPELLINGS, Spelling, diffusers, native, random_pairs, save, spelled
from torch import Tensor

from lora_core.errors import LoraFileError, LoraMismatchError, UnsupportedLoraError
from lora_core.families.wan.spec import wan_spec
from lora_core.files.account import Account, TensorRecord
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora

POCKET = wan_spec("wan-pocket")
T2V = wan_spec("wan2.2-t2v-a14b")
Q = "diffusion_model.blocks.0.self_attn.q"


def zeros(module: str, outputs: int, inputs: int, rank: int = 2) -> dict[str, Tensor]:
    return {f"{module}.lora_A.weight": torch.ones(rank, inputs), f"{module}.lora_B.weight": torch.ones(outputs, rank)}


def good() -> dict[str, Tensor]:
    return spelled(SPELLINGS["comfyui"], random_pairs(4), alpha=2.0)


def image_branch(num_blocks: int = 2) -> dict[str, Tensor]:
    tensors = {}
    for i in range(num_blocks):
        block = f"diffusion_model.blocks.{i}.cross_attn"
        tensors |= zeros(f"{block}.k_img", 128, 128) | zeros(f"{block}.v_img", 128, 128)
        tensors |= {f"{block}.k_img.diff_b": torch.ones(128), f"{block}.norm_k_img.diff": torch.ones(128)}
    return tensors | zeros("diffusion_model.img_emb.proj.1", 1280, 1280)


def status(path: Path, spec=POCKET, **options: bool) -> dict[str, int]:
    return {name: count for name, count in read_lora(path, spec=spec, **options).account.counts().items() if count}


def test_every_tensor_has_one_record_in_the_files_order(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", good() | image_branch())
    account = read_lora(path, spec=POCKET).account
    assert len(account) == len(good()) + len(image_branch())
    assert {record.name for record in account} == {*good(), *image_branch()}
    assert account.count("applied") == len(good())
    assert account.summary() == "47 tensors: 33 applied, 14 not applicable"


def test_the_image_branch_is_not_applicable_on_a_text_base_and_says_why(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", good() | image_branch())
    report = inspect_lora(path, spec=POCKET)
    assert report.faults == ()
    [(found, reason, count, _)] = report.account.reasons()
    assert (found, count) == ("not_applicable", 14)
    assert reason == "belongs to the image branch of Wan 2.1 I2V, which this model does not have"
    assert reason in report.account.table()


def test_a_lora_of_nothing_but_the_image_branch_applies_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", image_branch())
    with pytest.raises(LoraMismatchError) as caught:
        read_lora(path, spec=POCKET, allow_partial=True)
    assert str(caught.value) == (
        f"{path}: none of its 14 tensors applies to Wan pocket. Choose a LoRA made for Wan pocket."
    )


def test_unmatched_tensors_are_an_error_that_names_the_nearest_target(tmp_path: Path) -> None:
    tensors = (
        good() | zeros("diffusion_model.blocks.0.self_attn.qq", 128, 128) | zeros("diffusion_model.blok.3.ffn.0", 1, 1)
    )
    path = save(tmp_path / "x.safetensors", tensors)
    with pytest.raises(LoraMismatchError) as caught:
        read_lora(path, spec=POCKET)
    assert str(caught.value) == (
        f"{path}: 4 tensors match nothing in the model: "
        "diffusion_model.blocks.0.self_attn.qq.lora_A.weight (nearest blocks.0.self_attn.q), "
        "diffusion_model.blocks.0.self_attn.qq.lora_B.weight (nearest blocks.0.self_attn.q), "
        "diffusion_model.blok.3.ffn.0.lora_A.weight (nearest blocks.3.ffn.0) and 1 more. "
        "Switch allow_partial on to apply the others."
    )
    assert status(path, allow_partial=True) == {"applied": 33, "unmatched": 4}
    [record] = [
        r for r in inspect_lora(path, spec=POCKET).account if r.name.startswith("diffusion_model.blok.3.ffn.0.lora_A")
    ]
    assert (record.status, record.target, record.nearest) == ("unmatched", None, "blocks.3.ffn.0")
    assert record.reason == "the model has no such module"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{Q}.weight", "a whole weight, not the change of one"),
        (f"{Q}.lora_C.weight", "its ending is no part of a known LoRA"),
        ("diffusion_model.blocks.0.self_attn.norm_q.diff_b", "the module has no such bias"),
    ],
)
def test_an_unmatched_tensor_has_its_reason(name: str, reason: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", good() | {name: torch.ones(128)})
    [record] = [r for r in inspect_lora(path, spec=POCKET).account if r.status != "applied"]
    assert (record.name, record.reason) == (name, reason)


TEXT = "belongs to the text encoder, which LoRAs do not change here"
BYSTANDERS: dict[str, tuple[str, Tensor]] = {
    "lora_te_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": (TEXT, torch.ones(2, 8)),
    "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha": (TEXT, torch.tensor(1.0)),
    "text_encoder.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight": (TEXT, torch.ones(2, 8)),
    "text_encoder_2.encoder.block.0.oft_R.weight": (TEXT, torch.ones(2, 8)),
    "text_encoders.umt5xxl.transformer.shared.lora_up.weight": (TEXT, torch.ones(2, 8)),
    "base_model.model.text_encoder.shared.lora_B.weight": (TEXT, torch.ones(2, 8)),
    "scaled_fp8": ("marks a checkpoint in scaled fp8", torch.ones(0)),
    "diffusion_model.scaled_fp8": ("marks a checkpoint in scaled fp8", torch.ones(2)),
    "marker": ("is empty", torch.ones(0)),
    "global_step": ("counts the steps of the training", torch.tensor(1000)),
    "network.num_updates": ("counts the steps of the training", torch.tensor([7])),
    f"{Q}.scale_weight": ("says how a checkpoint's own weight was quantised", torch.tensor(0.5)),
    f"{Q}.input_scale": ("says how a checkpoint's own weight was quantised", torch.tensor(0.5)),
    "lora_transformer_blocks_0_attn1_to_q.scale_weight": (
        "says how a checkpoint's own weight was quantised",
        torch.tensor(0.5),
    ),
    f"{Q}.base_layer.weight": ("is a copy of the base's own weight", torch.ones(128, 128)),
    f"{Q}.base_layer.bias": ("is a copy of the base's own weight", torch.ones(128)),
    "base_model.model.proj_out.modules_to_save.default.weight": (
        "is a whole module trained beside the LoRA, of which the model keeps its own",
        torch.ones(64, 128),
    ),
}


@pytest.mark.parametrize("name", BYSTANDERS)
@pytest.mark.parametrize("spec", [POCKET, None])
def test_a_tensor_that_is_no_change_of_the_model_is_named_and_refuses_nothing(name: str, spec, tmp_path: Path) -> None:
    reason, tensor = BYSTANDERS[name]
    weights = read_lora(save(tmp_path / "x.safetensors", good() | {name: tensor}), spec=spec)
    assert weights.account.count("applied") == len(good())
    assert weights.account.reasons() == [("not_applicable", reason, 1, name)]


def test_a_file_of_a_text_encoder_alone_applies_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", zeros("text_encoder.shared", 8, 8))
    with pytest.raises(LoraMismatchError, match="none of its 2 tensors applies to Wan pocket"):
        read_lora(path, spec=POCKET, allow_partial=True)


STRANGE = (
    f"{Q}.magnitude_of_mine",
    f"{Q}.lora_C.weight",
    f"{Q}.lora_down.scale_weight",
    f"{Q}.base_layer.lora_A.weight",
    f"{Q}.norm.diff",
    "lora_unet_blocks_0_self_attn_q.strange",
)


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("allow_partial", [False, True])
def test_a_strange_tensor_in_a_module_that_matches_never_falls_away(
    name: str, allow_partial: bool, tmp_path: Path
) -> None:
    path = save(tmp_path / "x.safetensors", good() | {name: torch.ones(128)})
    with pytest.raises(UnsupportedLoraError) as caught:
        read_lora(path, spec=POCKET, allow_partial=allow_partial)
    assert str(caught.value) == (
        f"{path}: 1 tensor has an ending that is no part of a known LoRA: {name}. "
        "Write the file again with the tool that made it, as a LoRA of a known kind."
    )


def test_a_whole_checkpoint_is_not_a_lora(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", {f"{Q}.weight": torch.ones(128, 128), f"{Q}.bias": torch.ones(128)})
    with pytest.raises(LoraMismatchError, match="its 2 tensors are those of a base checkpoint"):
        read_lora(path, spec=POCKET)


def test_a_wrong_shape_is_an_error_that_names_both(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", good() | zeros("diffusion_model.blocks.2.self_attn.k", 128, 64))
    with pytest.raises(LoraMismatchError) as caught:
        read_lora(path, spec=POCKET)
    assert str(caught.value) == (
        f"{path}: 1 target has another shape in the model: "
        "blocks.2.self_attn.k is 128x64 in the file and 128x128 in the model. "
        "Switch allow_partial on to apply the others."
    )
    assert status(path, allow_partial=True) == {"applied": 33, "wrong_shape": 2}


def wan_lora(width: int, ffn: int, num_blocks: int = 3, rank: int = 2) -> dict[str, Tensor]:
    tensors = {}
    for i in range(num_blocks):
        for module in ("self_attn.q", "self_attn.k", "cross_attn.v"):
            tensors |= zeros(f"diffusion_model.blocks.{i}.{module}", width, width, rank)
        tensors |= zeros(f"diffusion_model.blocks.{i}.ffn.0", ffn, width, rank)
    return tensors


@pytest.mark.parametrize(
    ("width", "model", "said"),
    [
        (5120, "wan2.1-t2v-1.3b", "this is a Wan 14B LoRA (width 5120) and the model is Wan 2.1 T2V 1.3B (width 1536)"),
        (
            1536,
            "wan2.2-t2v-a14b",
            "this is a Wan 1.3B LoRA (width 1536) and the model is Wan 2.2 T2V A14B (width 5120)",
        ),
        (3072, "wan2.2-i2v-a14b", "this is a Wan 5B LoRA (width 3072) and the model is Wan 2.2 I2V A14B (width 5120)"),
        (640, "wan2.2-ti2v-5b", "this is a LoRA for a transformer of width 640 and the model is Wan 2.2 TI2V 5B"),
    ],
)
def test_a_lora_of_another_size_is_told_as_such_even_partially(
    width: int, model: str, said: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "x.safetensors", wan_lora(width, 2 * width))
    for allow_partial in (False, True):
        with pytest.raises(LoraMismatchError) as caught:
            read_lora(path, spec=wan_spec(model), allow_partial=allow_partial)
        assert caught.value.what.startswith(said)
    assert (
        f"blocks.0.cross_attn.v is {width}x{width} in the file and"
        in inspect_lora(path, spec=wan_spec(model)).faults[-1]
    )


PATCH = "diffusion_model.patch_embedding"


@pytest.mark.parametrize("kind", ["difference", "LoRA"])
@pytest.mark.parametrize(
    ("model", "channels", "said"),
    [
        ("wan2.2-t2v-a14b", 36, "5120x36x1x2x2 in the file, as image-to-video has it, and 5120x16x1x2x2 in the model"),
        ("wan2.2-i2v-a14b", 16, "5120x16x1x2x2 in the file, as text-to-video has it, and 5120x36x1x2x2 in the model"),
    ],
)
def test_the_patch_embedding_of_the_other_task_does_not_apply_and_the_rest_does(
    kind: str, model: str, channels: int, said: str, tmp_path: Path
) -> None:
    tensors = {f"{PATCH}.diff": torch.ones(5120, channels, 1, 2, 2)}
    if kind == "LoRA":
        factors = torch.ones(2, channels, 1, 2, 2), torch.ones(5120, 2, 1, 1, 1)
        tensors = {f"{PATCH}.lora_{leaf}.weight": tensor for leaf, tensor in zip("AB", factors, strict=True)}
    path = save(tmp_path / "x.safetensors", wan_lora(5120, 13824) | tensors)
    weights = read_lora(path, spec=wan_spec(model))
    assert [(status, reason) for status, reason, *_ in weights.account.reasons()] == [
        ("not_applicable", f"patch_embedding is {said}")
    ]
    assert weights.account.count("applied") == len(wan_lora(5120, 13824))


MMDIT = "HunyuanVideo, Flux, Qwen-Image or Stable Diffusion 3"
VACE = "Wan VACE, whose control blocks this model does not have"
FOREIGN = {
    "SDXL": ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "Stable Diffusion or SDXL"),
    "SDXL text encoder": ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "SDXL"),
    "LLM": ("base_model.model.model.layers.0.self_attn.q_proj", "a language model"),
    "Flux, diffusers": ("transformer.single_transformer_blocks.3.attn.to_q", "Flux or HunyuanVideo"),
    "HunyuanVideo": ("diffusion_model.double_blocks.3.img_attn.qkv", "Flux or HunyuanVideo"),
    "HunyuanVideo, diffusers": ("transformer.transformer_blocks.3.attn.to_q", MMDIT),
    "HunyuanVideo, its own": (
        "transformer.context_embedder.token_refiner.refiner_blocks.0.attn.to_q",
        "HunyuanVideo",
    ),
    "Qwen-Image": ("transformer.transformer_blocks.0.img_mlp.net.2", "Qwen-Image"),
    "Qwen-Image, attention": ("transformer.transformer_blocks.0.attn.add_q_proj", MMDIT),
    "VACE": ("diffusion_model.vace_blocks.0.self_attn.q", VACE),
    "VACE in the blocks": ("diffusion_model.blocks.0.vace.self_attn.q", VACE),
}


@pytest.mark.parametrize("spec", [T2V, None])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_lora_of_another_model_is_recognised(name: str, spec, tmp_path: Path) -> None:
    module, model = FOREIGN[name]
    path = save(tmp_path / "x.safetensors", zeros(module, 64, 64))
    with pytest.raises(LoraMismatchError) as caught:
        read_lora(path, spec=spec, allow_partial=True)
    title = T2V.title if spec else "Wan (any size)"
    expected = f"it looks like a LoRA for {model}; none of its 2 tensors applies to {title}"
    assert caught.value.what.startswith(expected)


@pytest.mark.parametrize(
    "module", ["transformer.transformer_blocks.0.attn1.to_q", "lora_unet_transformer_blocks_0_attn1_to_q"]
)
def test_names_that_several_models_share_are_told_as_such(module: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", zeros(module, 64, 64))
    others = "LTX-Video, CogVideoX or PixArt"
    with pytest.raises(LoraMismatchError, match=f"it looks like a LoRA for Cosmos, {others}; none of its 2 tensors"):
        read_lora(path, spec=T2V, allow_partial=True)
    weights = read_lora(path)
    assert list(weights.deltas) == ["blocks.0.self_attn.q_proj"]
    assert f"its names could also be those of {others}" in weights.notes


def test_a_relatives_module_beside_good_ones_is_told_as_such_and_no_near_miss(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", good() | zeros("diffusion_model.blocks.0.vace.self_attn.q", 128, 128))
    with pytest.raises(LoraMismatchError, match=rf"blocks\.0\.vace\.self_attn\.q\.lora_A\.weight \(of {VACE}\)"):
        read_lora(path, spec=POCKET)
    assert status(path, allow_partial=True) == {"applied": 33, "unmatched": 2}


@pytest.mark.parametrize("prefix", ["transformer.", "lora_transformer_", "diffusion_model."])
@pytest.mark.parametrize("spec", [POCKET, None])
def test_a_misspelt_module_is_a_near_miss_and_no_other_model(prefix: str, spec, tmp_path: Path) -> None:
    flat = prefix.endswith("_")
    modules = [f"blocks.{i}.attn1.to_qq" for i in range(3)]
    tensors = {}
    for module in modules:
        tensors |= zeros(prefix + (module.replace(".", "_") if flat else module), 128, 128)
    tensors |= zeros("lora_te1_text_model_encoder_layers_0_mlp_fc1", 8, 8)
    with pytest.raises(LoraMismatchError) as caught:
        read_lora(save(tmp_path / "x.safetensors", tensors), spec=spec)
    assert "looks like" not in str(caught.value)
    assert "lora_A.weight (nearest blocks.0.self_attn.q)" in caught.value.what
    assert caught.value.remedy.startswith("Correct its names after the nearest ones, or choose a LoRA made for ")


def test_all_faults_of_a_file_are_in_one_message(tmp_path: Path) -> None:
    tensors = good() | {
        "diffusion_model.blocks.2.self_attn.q.lora_down.weight": torch.ones(4, 128),
        "diffusion_model.blocks.2.self_attn.k.lora_down.weight": torch.ones(4, 128),
        "diffusion_model.blocks.2.self_attn.k.lora_up.weight": torch.ones(128, 3),
        "diffusion_model.blocks.9.self_attn.k.diff": torch.ones(128, 128),
        f"{Q}.alpha": torch.tensor(0.0),
    }
    path = save(tmp_path / "x.safetensors", tensors)
    with pytest.raises(LoraFileError) as caught:
        read_lora(path, spec=POCKET)
    assert str(caught.value) == (
        f"{path}: 1 target has tensors that do not go together: "
        "blocks.2.self_attn.k (down is 4x128 and up 128x3); "
        "1 target has only some of the tensors that make a delta: "
        "blocks.2.self_attn.q lacks up (there is diffusion_model.blocks.2.self_attn.q.lora_down.weight); "
        f"1 alpha cannot be used: {Q}.alpha is 0 (an alpha is one finite number other than 0); "
        "1 tensor matches nothing in the model: "
        "diffusion_model.blocks.9.self_attn.k.diff (nearest blocks.5.self_attn.k). "
        "Use a complete file; this one was cut or written wrongly."
    )


def test_deltas_that_change_nothing_are_marked_zero(tmp_path: Path) -> None:
    tensors = good() | {
        "diffusion_model.blocks.1.norm3.diff": torch.zeros(128),
        "diffusion_model.blocks.1.self_attn.v.lora_down.weight": torch.ones(4, 128),
        "diffusion_model.blocks.1.self_attn.v.lora_up.weight": torch.zeros(128, 4),
    }
    weights = read_lora(save(tmp_path / "x.safetensors", tensors), spec=POCKET)
    assert {r.name for r in weights.account if r.status == "zero"} == set(tensors) - set(good())
    assert "blocks.1.norm3" in weights.deltas


def test_a_file_of_zeros_is_read_with_a_note(tmp_path: Path) -> None:
    tensors = {name: torch.zeros_like(value) for name, value in zeros(Q, 128, 128).items()}
    weights = read_lora(save(tmp_path / "x.safetensors", tensors), spec=POCKET)
    assert weights.notes == ("all its deltas are zero: it changes nothing",)


def test_a_file_is_logged_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lora_core")
    read_lora(save(tmp_path / "x.safetensors", good()), spec=POCKET)
    assert caplog.messages == ["x.safetensors: 33 tensors: 33 applied"]


def test_an_account_is_text_for_people() -> None:
    records = (
        TensorRecord("a.lora_A.weight", "applied", "a", (2, 4), "float32"),
        TensorRecord("b.lora_A.weight", "unmatched", None, (2, 4), "float32", "the model has no such module", "a"),
    )
    account = Account(records)
    assert account.table(every=True).splitlines() == [
        "2 tensors: 1 applied, 1 unmatched",
        "      1 unmatched: the model has no such module (first: b.lora_A.weight)",
        "  applied        a.lora_A.weight [2x4 float32] -> a",
        "  unmatched      b.lora_A.weight [2x4 float32] -> None: the model has no such module (nearest a)",
    ]
    assert Account().summary() == "0 tensors: none"


def test_spellings_of_an_account_do_not_matter(tmp_path: Path) -> None:
    one = save(tmp_path / "a.safetensors", spelled(Spelling("", native, DOWN_UP), random_pairs(4), 4.0))
    two = save(tmp_path / "b.safetensors", spelled(Spelling("transformer.", diffusers, AB), random_pairs(4), 4.0))
    targets = [{record.target for record in read_lora(path, spec=POCKET).account} for path in (one, two)]
    assert targets[0] == targets[1]
