"""The convenient face: the verbs of the guides, with the model opened once however often the LoRAs change."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from tiny_loras import save_lora

from lora_core.checkpoints.checkpoint import Checkpoint
from lora_core.engine.generate import generate
from lora_core.engine.generator import WanVideoGenerator
from lora_core.engine.request import GenerationRequest
from lora_core.errors import LoraCoreError, LoraMismatchError, ModelError, StackError
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.pocket import pocket_paths
from lora_core.stack.stack import LoraStack

SMALL = {"num_frames": 5, "height": 32, "width": 32, "num_steps": 4, "seed": 7}


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    return tiny.save_files(tmp_path_factory.mktemp("model"))


@pytest.fixture
def generator(model_files):
    return WanVideoGenerator(model_files.high, **model_files.arguments())


@pytest.fixture
def loras(tmp_path):
    names = ("style_high_noise", "style_low_noise", "character")
    return {name: save_lora(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate(names)}


def test_the_verbs_are_those_of_the_guides(generator, loras):
    base = generator.generate_video(prompt="a red circle", **SMALL)
    generator.load_specialized_lora(
        lora_path=str(loras["character"]), adapter_name="character", lora_weight=0.8, applies_to="both"
    )
    character = generator.generate_video(prompt="a red circle", **SMALL)
    generator.load_multiple_loras([{"path": str(loras["style_high_noise"]), "name": "style", "weight": 0.5}])
    both = generator.generate_video(prompt="a red circle", **SMALL)
    generator.unload_loras()
    again = generator.generate_video(prompt="a red circle", **SMALL)
    assert torch.equal(base.latents, again.latents)
    assert len({video.record["latents_sha256"] for video in (base, character, both)}) == 3
    assert [row["name"] for row in both.record["loras"]] == ["character", "style"]
    assert both.frames.shape == (5, 32, 32, 3)
    assert both.frames.dtype == np.uint8


def test_changing_loras_between_scenes_never_reloads_the_model(generator, loras, monkeypatch):
    opened, tensors = [], Checkpoint.tensors
    monkeypatch.setattr(Checkpoint, "tensors", lambda self: opened.append(self.path.name) or tensors(self))
    generator.generate_video("a red circle", **SMALL)
    first = {name: id(generator.model.expert(name)) for name in ("high_noise", "low_noise")}
    assert len(opened) == len(set(opened)) == 4  # two experts, text encoder, VAE
    for strength in (0.3, 0.6, 0.9):
        generator.load_specialized_lora(loras["character"], "scene", strength, "both")
        generator.generate_video("a red circle", **SMALL)
        generator.unload_loras("scene")
    assert len(opened) == 4
    assert first == {name: id(generator.model.expert(name)) for name in ("high_noise", "low_noise")}


def test_loading_reads_the_file_at_once_and_no_scene_reads_it_again(generator, loras):
    entry = generator.load_specialized_lora(loras["style_high_noise"], "style")
    assert entry.weights.account.count("applied") == 6
    assert entry.low_noise_weights is not None
    first = generator.generate_video("a red circle", **SMALL)
    weights = generator.stack["style"].weights
    second = generator.generate_video("a red circle", **SMALL)
    assert generator.stack["style"].weights is weights
    assert torch.equal(first.latents, second.latents)


def test_a_generator_lets_partial_files_through_when_it_is_told_to(model_files, loras):
    stray = {f"blocks.0.self_attn.qq.lora_{leaf}.weight": torch.ones(2, 2) for leaf in "AB"}
    save_file({**load_file(loras["character"]), **stray}, loras["character"])
    with pytest.raises(LoraMismatchError, match="Switch allow_partial on to apply the others"):
        WanVideoGenerator(model_files.high, **model_files.arguments()).load_specialized_lora(loras["character"])
    partial = WanVideoGenerator(model_files.high, **model_files.arguments(), allow_partial=True)
    lora = partial.load_specialized_lora(loras["character"])
    assert lora.weights.account.count("unmatched") == 2
    partial.stack = LoraStack().add(loras["character"])
    video = partial.generate_video("a red circle", **SMALL)
    assert any("2 of its 8 tensors were left out" in note for note in video.notes)


def test_a_stack_that_is_loaded_is_not_asked_again_to_let_files_through(generator, loras):
    with pytest.raises(StackError, match=r"allow_partial: the stack is loaded already\. Give it to load_stack\."):
        generate(generator.model, GenerationRequest(prompt="a"), generator.loaded, allow_partial=True)


def test_a_lora_of_the_same_name_gives_way(generator, loras):
    generator.load_specialized_lora(loras["character"], "one", 1.0)
    generator.load_specialized_lora(loras["character"], "two", 1.0)
    generator.load_specialized_lora(loras["character"], "one", 0.25)
    assert [(entry.name, entry.strength) for entry in generator.stack] == [("one", 0.25), ("two", 1.0)]


def test_lists_hold_rows_or_tuples(generator, loras):
    path = loras["character"]
    loaded = generator.load_multiple_loras(
        [
            (path,),
            (str(path), "second", 0.5, "low_noise"),
            {"lora_path": path, "adapter_name": "third", "lora_weight": 0.7},
        ]
    )
    assert [(lora.name, lora.entry.strength) for lora in loaded] == [
        ("character", 1.0),
        ("second", 0.5),
        ("third", 0.7),
    ]
    assert list(generator.stack) == [lora.entry for lora in loaded]


def test_a_list_with_a_fault_loads_nothing(generator, loras, tmp_path):
    generator.load_specialized_lora(loras["character"], "kept")
    (tmp_path / "broken.safetensors").write_bytes(b"\0" * 40)
    for bad in ({"path": str(tmp_path / "broken.safetensors")}, {"path": str(tmp_path / "none.safetensors")}):
        with pytest.raises(LoraCoreError):
            generator.load_multiple_loras([(loras["character"], "new"), bad])
    assert [entry.name for entry in generator.stack] == ["kept"]


def test_wrong_rows_and_names_are_refused_with_what_was_meant(generator, loras):
    with pytest.raises(StackError, match="'low_noize'"):
        generator.load_specialized_lora(loras["character"], "x", 1.0, "low_noize")
    with pytest.raises(
        StackError,
        match=r"load_multiple_loras entry 1: 5 values \(\(path, name, weight, applies_to\), or its beginning\)",
    ):
        generator.load_multiple_loras([(loras["character"], "x", 1.0, "both", 3)])
    generator.load_specialized_lora(loras["character"], "character")
    with pytest.raises(StackError, match=r"no LoRA is named 'charakter' \(nearest: 'character'\)"):
        generator.unload_loras("charakter")
    assert len(generator.stack) == 1


def test_an_open_model_can_be_shared(model_files):
    model = open_wan(model_files.high, **model_files.arguments())
    assert WanVideoGenerator(model).model is model


@pytest.mark.parametrize("given", [{"device": "cpu"}, {"offload": "none"}, {"dtype": torch.float32}, {"vae": "v"}])
def test_what_an_open_model_has_already_is_refused(model_files, given):
    model = open_wan(model_files.high, **model_files.arguments())
    with pytest.raises(ModelError, match=f"{next(iter(given))} is given for a model that is open already"):
        WanVideoGenerator(model, **given)


def test_auto_is_a_device_in_python_too(model_files):
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    generator = WanVideoGenerator(model_files.high, **model_files.arguments(), device="auto")
    assert (generator.model.device.type != "cpu") == has_gpu


@pytest.mark.skipif(not pocket_paths().loras.is_dir(), reason="the pocket LoRAs are not built yet")
def test_embedded_loras_go_by_their_names():
    generator = WanVideoGenerator("pocket")
    loaded = generator.load_specialized_lora("neon_style")
    assert (loaded.name, loaded.entry.found_twin) == ("neon_style", True)
    generator.load_multiple_loras([{"path": "speed_6steps"}, ("zibbo_character",)])
    assert [lora.name for lora in generator.load_multiple_loras(["neon_style", "neon_style"])] == [
        "neon_style",
        "neon_style 2",
    ]
    generator.stack = LoraStack().add("orbit_motion")
    assert [row.name for row in generator.stack] == ["orbit_motion"]


def test_the_image_encoder_of_wan_2_1_is_given_as_a_file(model_files, tmp_path):
    expert = tiny.save_native(tiny.image_transformer(), tmp_path / "i2v.safetensors")
    encoder = tiny.save_image_encoder(tiny.image_encoder(), tmp_path / "clip_vision.safetensors")
    arguments = model_files.arguments() | {"low_noise": None}
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    generator = WanVideoGenerator(expert, **arguments, image_encoder=encoder)
    assert generator.generate_video("a red circle", picture, **SMALL).frames.shape == (5, 32, 32, 3)


def test_a_missing_text_encoder_or_vae_is_named_before_anything_runs(model_files, loras):
    for missing in ("text_encoder", "vae"):
        arguments = {name: path for name, path in model_files.arguments().items() if name != missing}
        generator = WanVideoGenerator(model_files.high, **arguments)
        with pytest.raises(ModelError, match=f"Pass its path as {missing}"):
            generator.generate_video("a red circle", **SMALL)
        assert not any(tiny.is_read(piece) for piece in generator.model.experts.values())


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_a_cancelled_video_leaves_a_generator_that_works(generator, loras, stop):
    expected = generator.generate_video("a red circle", **SMALL)
    generator.load_specialized_lora(loras["character"], "character", 1.0, "both")

    def cancel(step, num_steps, x0):
        if step == 2:
            raise stop

    with pytest.raises(stop):
        generator.generate_video("a red circle", callback=cancel, **SMALL)
    generator.unload_loras()
    assert torch.equal(generator.generate_video("a red circle", **SMALL).latents, expected.latents)


def test_generate_video_takes_every_setting_of_a_request():
    taken = set(inspect.signature(WanVideoGenerator.generate_video).parameters)
    settings = taken - {"self", "guide", "radial", "guardrail", "refiner", "callback"}
    assert settings == {field.name for field in fields(GenerationRequest)}
    defaults = inspect.signature(WanVideoGenerator.generate_video).parameters
    for field in fields(GenerationRequest):
        if field.name != "prompt":
            assert defaults[field.name].default == field.default
