"""A small model that steers a large one, from files to a video and its record, in Python and in the shell."""

import json

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file

from lora_core import (
    GenerationRequest,
    Guide,
    LoraStack,
    SteerSettings,
    WanVideoGenerator,
    generate,
    guide_from_record,
    load_stack,
    open_wan,
    request_from_record,
    stack_from_record,
)
from lora_core.cli.main import cli
from lora_core.errors import LoraCoreError, ModelError, PlanError, RequestError

SMALL_WIDTH = 32
REQUEST = GenerationRequest("a red circle", num_steps=4, num_frames=5, height=32, width=32, seed=7)


def save_small(path, seed, *, text_width=tiny.TEXT_WIDTH):
    """Write a transformer of half the width and one block on the tiny model's latents and texts."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    module = WanTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=SMALL_WIDTH,
        text_dim=text_width,
        ffn_dim=64,
        num_layers=1,
    )
    metadata = {"config": json.dumps({"transformer": {"num_heads": 1, "text_dim": text_width}})}
    save_file({name: t.contiguous() for name, t in tiny.native_state(module).items()}, path, metadata=metadata)
    return path


def save_small_lora(path, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for target, (rows, columns) in {"self_attn.q": (32, 32), "ffn.0": (64, 32), "cross_attn.v": (32, 32)}.items():
        name = f"diffusion_model.blocks.0.{target}"
        tensors[f"{name}.lora_down.weight"] = 0.3 * torch.randn(4, columns, generator=generator)
        tensors[f"{name}.lora_up.weight"] = 0.3 * torch.randn(rows, 4, generator=generator)
    save_file(tensors, path)
    return path


class Files:
    def __init__(self, folder):
        self.large = tiny.save_files(folder)
        self.guide = save_small(folder / "small_high_noise.safetensors", 5)
        save_small(folder / "small_low_noise.safetensors", 6)
        self.lora = save_small_lora(folder / "style.safetensors")

    def open_guide(self):
        return open_wan(self.guide, vae=self.large.vae)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(files):
    return open_wan(files.large.high, **files.large.arguments())


def guide(files, **settings):
    return Guide(files.open_guide(), LoraStack().add(files.lora), SteerSettings(**settings))


def test_the_lora_of_a_model_of_other_shapes_acts_on_a_large_one(files, model):
    plain = generate(model, REQUEST)
    steered = generate(model, REQUEST, guide=guide(files))
    assert (steered.latents - plain.latents).abs().max() > 0.01
    assert torch.equal(generate(model, REQUEST, guide=guide(files, strength=0)).latents, plain.latents)
    assert torch.equal(generate(model, REQUEST).latents, plain.latents)


def test_the_notes_say_what_it_costs_and_what_the_prompt_lacks(files, model, tmp_path):
    notes = generate(model, REQUEST, guide=guide(files)).notes
    (cost,) = [note for note in notes if note.startswith("guide: ")]
    assert "runs twice at 4 of 4 steps" in cost
    assert "more arithmetic than without it" in cost
    assert "parameters more in memory" in cost


def test_the_record_tells_of_the_guide_and_makes_the_same_video_again(files, model):
    video = generate(model, REQUEST, guide=guide(files, strength=0.7, schedule="fade_out", above=None, cfg=(2.0, 1.0)))
    record = json.loads(json.dumps(video.record, allow_nan=False))
    assert record["format"] == 2
    assert record["guide"]["model"]["files"]["high"]["path"] == str(files.guide)
    assert record["guide"]["settings"] == {
        "strength": 0.7,
        "schedule": "fade_out",
        "above": None,
        "cfg": [2.0, 1.0],
    }
    assert len(record["plan"]["steering"]["strengths"]) == 4
    again = generate(
        model,
        request_from_record(record),
        stack_from_record(record),
        guide=guide_from_record(record, files.open_guide()),
    )
    assert torch.equal(again.latents, video.latents)
    assert np.array_equal(again.frames, video.frames)
    plain = generate(model, REQUEST).record
    assert plain["format"] == 1
    assert guide_from_record(plain, model) is None


def test_a_damaged_record_of_a_guide_is_refused(files, model):
    record = json.loads(json.dumps(generate(model, REQUEST, guide=guide(files)).record))
    small = files.open_guide()
    for damage in ({"guide": 3}, {"guide": {"loras": [], "settings": {"strenght": 1}}}):
        with pytest.raises(LoraCoreError, match="record"):
            guide_from_record(record | damage, small)


def test_the_generator_takes_a_guide_for_one_video(files, model):
    generator = WanVideoGenerator(model)
    settings = {"num_steps": 4, "num_frames": 5, "height": 32, "width": 32, "seed": 7}
    steered = generator.generate_video("a red circle", guide=guide(files), **settings)
    assert torch.equal(steered.latents, generate(model, REQUEST, guide=guide(files)).latents)


def test_a_guide_of_a_text_model_steers_an_image_model_and_is_told_of_no_picture(files, tmp_path):
    from PIL import Image

    large = tiny.save_files(tmp_path, in_channels=36)
    model = open_wan(large.high, **large.arguments())
    picture = Image.new("RGB", (32, 32), "red")
    request = GenerationRequest("a red circle", image=picture, num_steps=2, num_frames=5, height=32, width=32)
    video = generate(model, request, guide=guide(files))
    assert "is told of no picture" in "\n".join(video.notes)
    assert not torch.equal(video.latents, generate(model, request).latents)


def test_a_guide_that_cannot_steer_is_refused_before_a_network_is_read(files, tmp_path):
    model = open_wan(files.large.high, **files.large.arguments())
    small = open_wan(save_small(tmp_path / "other.safetensors", 5, text_width=96))
    with pytest.raises(ModelError, match="width of embedded texts: 96 and 64"):
        generate(model, REQUEST, guide=Guide(small, LoraStack().add(files.lora)))
    with pytest.raises(PlanError, match="no LoRA acts on it"):
        generate(model, REQUEST, guide=Guide(files.open_guide(), LoraStack()))
    with pytest.raises(LoraCoreError, match=r"blocks\.0"):  # the guide's LoRA does not fit the large model
        load_stack(LoraStack().add(files.lora), model.spec)
    with pytest.raises(RequestError, match="guide: 'style' is no stack"):
        Guide(files.open_guide(), "style")
    assert not any(tiny.is_read(piece) for piece in model.experts.values())


# ---------------------------------------------------------------- in the shell


def shell(files, *arguments):
    large = files.large
    models = ("--model", large.high, "--text-encoder", large.text_encoder, "--tokenizer", large.tokenizer)
    sizes = ("--steps", 4, "--frames", 5, "--size", "32x32", "--seed", 7)
    given = ("generate", "-p", "a red circle", *models, "--vae", large.vae, *sizes, *arguments)
    cli.main([str(argument) for argument in given], standalone_mode=False)


def test_the_shell_steers_as_python_does(files, model, tmp_path, capsys):
    record = tmp_path / "record.json"
    steering = ("--guide", files.guide, "--guide-lora", f"{files.lora}:0.8", "--guide-above", "0.9")
    shell(files, *steering, "--guide-strength", 1.5, "-o", tmp_path / "frames", "--json", record)
    told = json.loads(record.read_text())
    python = Guide(files.open_guide(), LoraStack().add(files.lora, 0.8), SteerSettings(strength=1.5, above=0.9))
    assert told["latents_sha256"] == generate(model, REQUEST, guide=python).record["latents_sha256"]
    assert told["plan"]["steering"]["strengths"] == [1.5, 1.5, 0, 0]
    assert "guide: " in "".join(capsys.readouterr())


POCKET_GUIDE = ("--guide", "pocket", "--guide-lora", "zibbo_character")


def test_the_command_plan_shows_the_steering(capsys, tmp_path):
    picture = tmp_path / "plan.png"
    arguments = ("plan", "--model", "pocket", *POCKET_GUIDE, "--guide-above", "0.9", "--plot", picture)
    cli.main([str(argument) for argument in arguments], standalone_mode=False)
    assert "steered at 3 of 6 steps, lambda 1, 1, 1, 0, 0, 0" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--guide-strength", "0.5"), "--guide-strength: there is no --guide for it"),
        (("--guide-lora", "x.safetensors"), "--guide-lora: there is no --guide for it"),
        (("--guide", "pocket"), "--guide: no --guide-lora is given"),
        ((*POCKET_GUIDE, "--guide-above", "x"), "--guide-above: 'x'"),
        (
            ("--guide", "pocket", "--guide-lora", "zibbo_character", "--guide-cfg", "1,2,3"),
            "--guide-cfg: '1,2,3' has 3",
        ),
        (("--guide", "nowhere.safetensors", "--guide-lora", "zibbo_character"), "nowhere.safetensors"),
    ],
)
def test_the_shell_refuses_what_makes_no_sense(files, tmp_path, arguments, error):
    with pytest.raises(LoraCoreError) as refused:
        shell(files, *arguments, "-o", tmp_path / "frames")
    assert error in str(refused.value)
    assert not (tmp_path / "frames").exists()
