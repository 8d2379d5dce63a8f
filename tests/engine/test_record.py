"""The record: JSON that says all there is to say of a video, and makes it again bit for bit."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from tiny_loras import save_lora

from lora_core.engine.generate import generate
from lora_core.engine.record import request_from_record, stack_from_record, tensor_sha256
from lora_core.engine.request import GenerationRequest
from lora_core.errors import RequestError, StackError
from lora_core.families.wan.open import open_wan
from lora_core.stack.loading import load_stack
from lora_core.stack.stack import LoraStack

SMALL = {"num_frames": 5, "height": 32, "width": 32, "seed": 7}


def picture(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def as_read(video):
    """Return the record as it comes out of a file."""
    return json.loads(json.dumps(video.record, allow_nan=False))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    files = tiny.save_files(tmp_path_factory.mktemp("model"))
    return open_wan(files.high, **files.arguments())


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    files = tiny.save_files(tmp_path_factory.mktemp("image model"), in_channels=36)
    return open_wan(files.high, **files.arguments())


@pytest.fixture
def stack(tmp_path):
    pair = [save_lora(tmp_path / f"style_{word}_noise.safetensors", seed) for seed, word in enumerate(("high", "low"))]
    both = save_lora(tmp_path / "character.safetensors", 3)
    return LoraStack().add(pair[0], 0.8, schedule="fade_out", name="style").add(both, -0.5, target_filter="ffn=0.5")


def test_a_record_makes_the_same_video_again(model, stack):
    request = GenerationRequest("a red circle", "blue", cfg=(3.0, 1.0), num_steps=4, solver="unipc", **SMALL)
    video = generate(model, request, stack)
    record = as_read(video)
    again = generate(model, request_from_record(record), stack_from_record(record))
    assert torch.equal(again.latents, video.latents)
    assert np.array_equal(again.frames, video.frames)
    assert record["latents_sha256"] == tensor_sha256(video.latents) == again.record["latents_sha256"]
    without = generate(model, request)
    assert not torch.equal(without.latents, video.latents)


def test_a_record_says_what_was_done(model, stack):
    request = GenerationRequest("a red dragon", num_steps=4, solver="dpmpp_2m", **SMALL)
    record = as_read(generate(model, request, stack))
    assert record["request"]["prompt"] == "a red dragon"
    assert record["request"]["seed"] == 7
    assert record["request"]["fps"] == 16.0
    assert [row["name"] for row in record["loras"]] == ["style", "character"]
    style = record["loras"][0]
    assert style["path"].endswith("style_high_noise.safetensors")
    assert style["low_noise_path"].endswith("style_low_noise.safetensors")
    assert len(style["sha256"]) == len(style["low_noise_sha256"]) == 64
    assert record["solver_restarts"] == [2]
    assert record["notes"] == ["prompt: the text encoder does not know 'dragon'"]
    assert set(record["model"]["files"]) == {"high", "low", "vae", "text_encoder", "tokenizer"}
    assert all(file["bytes"] > 0 for file in record["model"]["files"].values())
    assert all(len(file["sha256"]) == 64 for file in record["model"]["files"].values())
    high = Path(record["model"]["files"]["high"]["path"])
    assert record["model"]["files"]["high"]["sha256"] == hashlib.sha256(high.read_bytes()).hexdigest()
    assert list(record["timings"])[:3] == ["files", "text", "picture"]
    assert {"step 0", "step 3", "sampling", "decoding"} <= set(record["timings"])
    assert record["versions"]["torch"] == torch.__version__
    assert len(record["plan"]["steps"]) == 4


def test_the_image_encoder_is_among_the_models_files(tmp_path):
    folder = tiny.save_folder(
        tmp_path, two_experts=False, in_channels=36, boundary_ratio=None, image_encoder=tiny.image_encoder()
    )
    request = GenerationRequest(
        "a red circle", image=Image.new("RGB", (32, 32), "red"), num_frames=5, height=32, width=32, num_steps=2
    )
    files = generate(open_wan(folder), request).record["model"]["files"]
    assert files["image_encoder"]["path"] == str(folder / "image_encoder")
    assert files["image_encoder"]["bytes"] > 0


def test_a_lora_that_has_changed_is_refused(model, stack, tmp_path):
    record = as_read(generate(model, GenerationRequest("red", num_steps=2, **SMALL), stack))
    save_lora(tmp_path / "character.safetensors", 4)
    with pytest.raises(StackError, match="a LoRA has changed"):
        stack_from_record(record)


def test_a_lora_from_memory_cannot_come_back_from_a_record(model, stack):
    weights = load_stack(stack, model.spec).find("character").weights
    memory = LoraStack().add(replace(weights, path=None), name="made here")
    record = as_read(generate(model, GenerationRequest("red", num_steps=2, **SMALL), memory))
    with pytest.raises(RequestError) as error:
        stack_from_record(record)
    expected = "record: the LoRA 'made here' was made in memory and has no file. Write it to a file before it is used."
    assert str(error.value) == expected


def test_pictures_come_back_from_their_file_or_are_given_again(image_model, tmp_path):
    picture().save(tmp_path / "first.png")
    settings = {"num_steps": 2, **SMALL}
    request = GenerationRequest("red", image=tmp_path / "first.png", last_image=picture(1), **settings)
    video = generate(image_model, request)
    record = as_read(video)
    again = generate(image_model, request_from_record(record, last_image=picture(1)))
    assert torch.equal(again.latents, video.latents)
    with pytest.raises(RequestError, match="last_image: the record knows it by its hash alone"):
        request_from_record(record)
    with pytest.raises(RequestError, match="last_image: it is not the picture of the record"):
        request_from_record(record, last_image=picture(2))
    picture(3).save(tmp_path / "first.png")
    with pytest.raises(RequestError, match="image: it is not the picture of the record"):
        request_from_record(record, last_image=picture(1))


def test_start_latents_are_given_again_and_compared(model):
    latents = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    video = generate(model, GenerationRequest("red", latents=latents, denoise=0.5, num_steps=3, **SMALL))
    record = as_read(video)
    assert len(record["plan"]["steps"]) == 3
    assert record["plan"]["steps"][0]["sigma"] < 1
    again = generate(model, request_from_record(record, latents=latents))
    assert torch.equal(again.latents, video.latents)
    with pytest.raises(RequestError, match="latents: the record knows them by their hash alone"):
        request_from_record(record)
    with pytest.raises(RequestError, match="latents: they are not those of the record"):
        request_from_record(record, latents=latents + 1)


def test_what_is_no_record_is_refused():
    with pytest.raises(RequestError, match=r"record: its format is None \(one of 1, 2, 3, 4\)"):
        request_from_record({})
    with pytest.raises(RequestError, match="record: its 'request' is missing or damaged"):
        request_from_record({"format": 1, "loras": []})
    with pytest.raises(RequestError, match="record: unknown key 'sead'"):
        request_from_record({"format": 1, "loras": [], "request": {"prompt": "x", "sead": 1}})
