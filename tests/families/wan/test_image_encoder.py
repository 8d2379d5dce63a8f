"""The CLIP vision encoder of Wan 2.1: the features of diffusers' pipeline from every form of file, and the errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_core.errors import ModelError
from lora_core.families.wan.config import image_encoder_config
from lora_core.families.wan.image_encoder import clip_pixels
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.spec import wan_spec


def picture(width: int = 50, height: int = 37, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def diffusers_features(image: Image.Image) -> Tensor:
    pixels = tiny.image_processor()(images=image, return_tensors="pt").pixel_values
    with torch.no_grad():
        return tiny.image_encoder()(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_native(tiny.image_transformer(), tmp_path_factory.mktemp("i2v") / "i2v.safetensors")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_image_encoder(tiny.image_encoder(), tmp_path_factory.mktemp("clip") / "clip_vision.safetensors")


def message(source: Path, image_encoder: Path) -> str:
    with pytest.raises(ModelError) as raised:
        open_wan(source, image_encoder=image_encoder)
    return str(raised.value)


def load_message(source: Path, image_encoder: Path) -> str:
    model = open_wan(source, image_encoder=image_encoder)
    with pytest.raises(ModelError) as raised:
        model.encode_picture(picture())
    return str(raised.value)


# ---------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", [(28, 28), (64, 32), (33, 91), (29, 28), (10, 7), (301, 200)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pictures_are_prepared_as_transformers_prepares_them(size: tuple[int, int], mode: str) -> None:
    image = picture(*size, mode)
    expected = tiny.image_processor()(images=image, return_tensors="pt").pixel_values
    found = clip_pixels(image, tiny.IMAGE_SIZE)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("spelling", ["transformers", "open_clip", "wan"])
def test_every_spelling_gives_the_features_of_diffusers(expert: Path, tmp_path: Path, spelling: str) -> None:
    file = tiny.save_image_encoder(tiny.image_encoder(), tmp_path / "clip.safetensors", spelling)
    features = open_wan(expert, image_encoder=file).encode_picture(picture())
    assert features.shape == (1, tiny.NUM_IMAGE_TOKENS, tiny.IMAGE_WIDTH)
    torch.testing.assert_close(features, diffusers_features(picture()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("prefix", ["clip_vision.", "image_encoder.", "model."])
def test_a_prefix_before_every_name_is_taken_off(expert: Path, encoder: Path, tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "clip.safetensors"
    save_file({f"{prefix}{name}": tensor for name, tensor in load_file(encoder).items()}, file)
    features = open_wan(expert, image_encoder=file).encode_picture(picture())
    torch.testing.assert_close(features, diffusers_features(picture()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("root", ["vision_model.", ""])
def test_a_folder_may_have_the_names_of_transformers_4_or_5(expert: Path, tmp_path: Path, root: str) -> None:
    tiny.image_encoder().save_pretrained(tmp_path)
    state = tiny.image_encoder().state_dict()
    bare = {name.removeprefix("vision_model."): tensor for name, tensor in state.items()}
    save_file({f"{root}{name}": tensor for name, tensor in bare.items()}, tmp_path / "model.safetensors")
    features = open_wan(expert, image_encoder=tmp_path).encode_picture(picture())
    torch.testing.assert_close(features, diffusers_features(picture()), rtol=0, atol=1e-5)


def test_shapes_alone_tell_the_encoder_of_the_published_models() -> None:
    vit_h = {
        "embeddings.class_embedding": (1280,),
        "embeddings.patch_embedding.weight": (1280, 3, 14, 14),
        "embeddings.position_embedding.weight": (257, 1280),
    }
    layers = {f"encoder.layers.{i}.mlp.fc1.weight": (5120, 1280) for i in range(32)}
    assert image_encoder_config(vit_h | layers, {}, "clip_vision_h.safetensors") == {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


def test_half_precision_files_and_models_compute_in_float32(expert: Path, encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "clip.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(encoder).items()}, file)
    features = open_wan(expert, image_encoder=file, dtype=torch.bfloat16).encode_picture(picture())
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, diffusers_features(picture()), rtol=0, atol=0.05)


def test_what_shapes_cannot_tell_a_file_may_state(expert: Path, tmp_path: Path) -> None:
    features = []
    for stated in ({}, {"num_attention_heads": 4}, {"hidden_act": "quick_gelu"}, {"layer_norm_eps": 0.1}):
        metadata = {"config": json.dumps(stated)}
        file = tiny.save_image_encoder(tiny.image_encoder(), tmp_path / f"{len(features)}.safetensors", "wan", metadata)
        features.append(open_wan(expert, image_encoder=file).encode_picture(picture()))
    assert all((features[0] - other).abs().max() > 1e-3 for other in features[1:])


def test_nothing_is_read_before_the_first_picture_and_offloading_rests_it(expert: Path, encoder: Path) -> None:
    model = open_wan(expert, image_encoder=encoder, offload="experts")
    assert model.image_encoder is not None
    assert not tiny.is_read(model.image_encoder.piece)
    first = model.encode_picture(picture())
    model.expert("low_noise")
    assert not model.image_encoder.piece.is_active
    assert torch.equal(model.encode_picture(picture()), first)


def test_a_spec_says_what_a_model_looks_at(tmp_path: Path, expert: Path) -> None:
    two = tiny.save_native(tiny.image_transformer(first_and_last=True), tmp_path / "flf.safetensors")
    flags = [(spec.image_embeds, spec.first_and_last) for spec in (open_wan(p).spec for p in (expert, two))]
    assert flags == [(True, False), (True, True)]
    assert wan_spec("wan2.1-i2v-14b").image_embeds
    assert not wan_spec("wan2.2-i2v-a14b").image_embeds


# ---------------------------------------------------------------------------------------------- errors

REMEDY = "Use ComfyUI's clip_vision_h.safetensors or the image_encoder folder of a diffusers model."
NAMES = "(such as vision_model.embeddings.class_embedding, or the same in open_clip's or Wan's naming)"


def test_a_missing_encoder_is_named_before_any_work(expert: Path, tmp_path: Path) -> None:
    model = open_wan(expert)
    model.require(text=False, vae=False)
    with pytest.raises(ModelError) as raised:
        model.require(picture=True)
    assert str(raised.value) == (
        "Wan (width 64, 2 blocks): it was opened without an image encoder (a CLIP vision encoder, such as "
        "clip_vision_h.safetensors). Pass its path as image_encoder."
    )
    source = tiny.save_folder(
        tmp_path, two_experts=False, in_channels=36, boundary_ratio=None, image_encoder=tiny.image_encoder()
    )
    (source / "image_encoder").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=re.escape(f"(the folder {source / 'image_encoder'})")):
        open_wan(source).encode_picture(picture())


def test_a_file_of_something_else_is_told_what_was_expected(expert: Path, encoder: Path, tmp_path: Path) -> None:
    vae = tiny.save_vae(tiny.vae(), tmp_path / "vae.safetensors")
    first = ", ".join(list(load_file(vae))[:2])
    text = message(expert, vae)
    assert text.startswith(f"{vae}: is no CLIP vision encoder: its tensors are named ")
    assert text.endswith(f", … {NAMES}. {REMEDY}")
    assert first.split(".")[0] in text
    without = tmp_path / "siglip.safetensors"
    save_file({name: tensor for name, tensor in load_file(encoder).items() if "class" not in name}, without)
    assert message(expert, without) == (
        f"{without}: is no CLIP vision encoder: it has no tensor 'embeddings.class_embedding' {NAMES}. {REMEDY}"
    )
    gguf = tiny.save_gguf(tiny.transformer(0), tmp_path / "clip.gguf")
    text = f"{gguf}: is a GGUF file (a CLIP vision encoder as .safetensors or .pth). Choose another file."
    assert message(expert, gguf) == text


def test_an_encoder_of_another_size_does_not_fit(expert: Path, encoder: Path, tmp_path: Path) -> None:
    wide = tiny.save_image_encoder(tiny.image_encoder(width=240), tmp_path / "wide.safetensors")
    title, remedy = "Wan (width 64, 2 blocks)", "Choose the image encoder of this model."
    assert message(expert, wide) == f"{wide}: an image encoder of width 240 for {title} (width 160). {remedy}"
    network = tiny.transformer(0, in_channels=36, image_branch=True, image_width=160, image_positions=14)
    seven = tiny.save_native(network, tmp_path / "seven.safetensors")
    assert message(seven, encoder) == f"{encoder}: an image encoder of 5 tokens for {title} (7 tokens). {remedy}"


def test_an_encoder_that_would_do_nothing_is_refused(encoder: Path, tmp_path: Path) -> None:
    text_model = tiny.save_native(tiny.transformer(0), tmp_path / "t2v.safetensors")
    assert message(text_model, encoder) == (
        f"{encoder}: is given as image_encoder, and Wan (width 64, 2 blocks) looks through none. Leave it out."
    )


@pytest.mark.parametrize(
    ("stated", "fault"),
    [
        ({"num_attention_heads": 3}, "a CLIP vision encoder of width 160 does not divide into 3 heads. State the head"),
        ({"hidden_act": "swish"}, "its activation is 'swish' (gelu or quick_gelu)."),
    ],
)
def test_a_stated_configuration_that_cannot_be(expert: Path, tmp_path: Path, stated: dict, fault: str) -> None:
    metadata = {"config": json.dumps(stated)}
    file = tiny.save_image_encoder(tiny.image_encoder(), tmp_path / "clip.safetensors", metadata=metadata)
    assert message(expert, file).startswith(f"{file}: {fault}")


@pytest.mark.parametrize("spelling", ["transformers", "open_clip", "wan"])
def test_missing_and_superfluous_tensors_are_counted(
    expert: Path, encoder: Path, tmp_path: Path, spelling: str
) -> None:
    file = tiny.save_image_encoder(tiny.image_encoder(), tmp_path / "clip.safetensors", spelling)
    state = load_file(file)
    norm = next(name for name in state if name.endswith(("pre_layrnorm.bias", "ln_pre.bias", "pre_norm.bias")))
    extra = f"{norm.removesuffix('.bias')}.extra"
    state[extra] = state.pop(norm)
    save_file(state, file)
    text = load_message(expert, file)
    assert text.startswith(f"{file}: 1 tensors are missing, first 'pre_layrnorm.bias'; 1 tensors have no place in it")
