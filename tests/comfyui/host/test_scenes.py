"""SceneLoras: each scene is what the single nodes would make of it, and nothing is sampled if one is wrong."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import nodes
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from wanloom.lora_core import LoraCoreError, LoraStack, ModelError, RunSettings, load_stack, wan_spec
from wanloom.lora_core.engine.scenes import Scene
from wanloom.lora_core.families.wan.pocket import pocket_lora
from wanloom.nodes import production
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.presets import SaveLoraStack
from wanloom.nodes.sample import Sampler6Step
from wanloom.nodes.scenes import SceneLoras
from wanloom.nodes.stack import ApplyLoraStack
from wanloom.nodes.stack_files import parse_stack

SPEED = {"path": "speed_6steps_high_noise.safetensors", "name": "speed"}
NEON = {"path": "neon_style_high_noise.safetensors", "name": "neon", "schedule": "fade_out"}
ZIBBO = {"path": "zibbo_character_high_noise.safetensors", "name": "zibbo", "weight": 0.8}
CIRCLE = "a red circle moves right on a plain background"
STAR = "a blue star moves up on a striped background"
WIDGETS = {
    "width": 32,
    "height": 32,
    "length": 5,
    "seed": 7,
    "steps": 2,
    "shift": 5.0,
    "cfg_high": 1.0,
    "cfg_low": 1.0,
    "solver": "euler",
    "boundary": "auto",
    "negative": "",
}


@pytest.fixture(autouse=True)
def user_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))


@pytest.fixture(scope="module")
def pocket() -> SimpleNamespace:
    model, clip, vae = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args
    return SimpleNamespace(model=ApplyLoraStack.execute(model, json.dumps([SPEED])).args[0], clip=clip, vae=vae)


@pytest.fixture
def steps_seen() -> Iterator[list[tuple[int, int]]]:
    """The (step, of how many) that the host was told."""
    seen: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(lambda done, total, *_, **__: seen.append((done, total)))
    yield seen
    comfy.utils.set_progress_bar_global_hook(None)


@pytest.fixture
def nothing_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "walk", lambda *_, **__: pytest.fail("a scene was sampled"))


def make(pocket: SimpleNamespace, *rows: dict[str, Any], **widgets: Any) -> tuple[torch.Tensor, str]:
    given = {"model": pocket.model, "clip": pocket.clip, "vae": pocket.vae} | WIDGETS | widgets
    with torch.inference_mode():
        return SceneLoras.execute(scenes=json.dumps(rows), **given).args


def make_alone(
    pocket: SimpleNamespace, prompt: str, loras: list[dict[str, Any]], seed: int, length: int, **sampler: Any
) -> torch.Tensor:
    """Return the frames of one scene from the nodes that SceneLoras stands for."""
    with torch.inference_mode():
        model = ApplyLoraStack.execute(pocket.model, json.dumps(loras)).args[0]
        (positive,), (negative,) = (nodes.CLIPTextEncode().encode(pocket.clip, text) for text in (prompt, "blurred"))
        latent = {"samples": torch.zeros(1, 16, (length - 1) // 4 + 1, 4, 4)}
        given = {key: WIDGETS[key] for key in ("steps", "shift", "cfg_high", "cfg_low", "solver", "boundary")} | sampler
        latent = Sampler6Step.execute(model, positive, latent, seed, denoise=1.0, negative=negative, **given).args[0]
        return nodes.VAEDecode().decode(pocket.vae, latent)[0]


def save_preset(name: str, *rows: dict[str, Any]) -> None:
    SaveLoraStack.execute(parse_stack(json.dumps(rows), "test"), name)


def test_the_frames_are_those_of_each_scene_made_alone_in_a_row(pocket: SimpleNamespace) -> None:
    save_preset("neon zibbo", NEON, ZIBBO)
    images, report = make(
        pocket,
        {"prompt": CIRCLE},
        {"prompt": STAR, "preset": "neon zibbo", "length": 1, "seed": 3},
        {"prompt": STAR, "loras": [ZIBBO]},
    )
    alone = [
        make_alone(pocket, CIRCLE, [], 7, 5),
        make_alone(pocket, STAR, [NEON, ZIBBO], 3, 1),
        make_alone(pocket, STAR, [ZIBBO], 9, 5),
    ]
    assert images.shape == (11, 32, 32, 3)
    assert torch.equal(images, torch.cat(alone))
    blocks = report.split("\n\nscene ")
    assert [block.splitlines()[0].removeprefix("scene ") for block in blocks] == [
        "1 of 3: 5 frames, seed 7",
        "2 of 3: 1 frame, seed 3, preset 'neon zibbo'",
        "3 of 3: 5 frames, seed 9",
    ]
    assert "neon_style_high_noise.safetensors: high_noise 1" in blocks[1]
    assert "neon" not in blocks[2]


def test_a_negative_prompt_acts_with_guidance_and_is_told_without(pocket: SimpleNamespace) -> None:
    row = {"prompt": CIRCLE, "negative": "blurred", "length": 1}
    images, report = make(pocket, row, cfg_high=3.0, negative="another")
    assert torch.equal(images, make_alone(pocket, CIRCLE, [], 7, 1, cfg_high=3.0))
    assert "not: blurred" in report
    _, report = make(pocket, row)
    assert "its negative prompt is not used, cfg is 1" in report


def test_the_route_before_it_says_the_boundary(pocket: SimpleNamespace) -> None:
    routed = replace(pocket.model, settings=RunSettings(boundary=0.9), is_routed=True)
    _, report = make(SimpleNamespace(**vars(pocket) | {"model": routed}), {"prompt": CIRCLE, "length": 1})
    assert "boundary 0.9" in report


@pytest.fixture
def every_step_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host leaves out what follows too soon, as the steps of so small a model do."""
    monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0)


@pytest.mark.usefixtures("every_step_told")
def test_progress_counts_the_steps_of_all_scenes(pocket: SimpleNamespace, steps_seen: list[tuple[int, int]]) -> None:
    make(pocket, {"prompt": CIRCLE, "length": 1}, {"prompt": STAR, "length": 1})
    sampling = [step for step in steps_seen if step[1] == 4]
    assert sampling == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.usefixtures("every_step_told")
@pytest.mark.parametrize("at_step", [1, 2])  # within the first scene, and between the two
def test_an_interrupt_ends_the_run_at_once_and_the_next_is_right(pocket: SimpleNamespace, at_step: int) -> None:
    rows = ({"prompt": CIRCLE, "length": 1}, {"prompt": STAR, "length": 1})
    seen = []

    def interrupt_at(done: int, *_: Any, **__: Any) -> None:
        seen.append(done)
        comfy.model_management.throw_exception_if_processing_interrupted()  # as the host's server does
        if done == at_step:
            comfy.model_management.interrupt_current_processing()

    expected, _ = make(pocket, *rows)
    comfy.utils.set_progress_bar_global_hook(interrupt_at)
    try:
        with pytest.raises(InterruptProcessingException):
            make(pocket, *rows)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        comfy.model_management.interrupt_current_processing(False)
    assert max(seen) <= at_step + 1
    assert torch.equal(make(pocket, *rows)[0], expected)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"preset": "neno"}, r"^scene 2 preset 'neno': there is none .*nearest: 'neon'"),
        ({"preset": "../neon"}, r"^scene 2 preset name '\.\./neon': '\.\.' begins with a dot"),
        ({"loras": [{"path": "gone.safetensors"}]}, r"^scene 2 gone.safetensors: no such file"),
        ({"loras": [{"path": "../x.safetensors"}]}, r"^scene 2 \.\./x.safetensors: leaves the LoRA folders"),
        ({"length": 6}, r"^scene 2 length: 6 is not 4 k \+ 1 \(nearest: 5 or 9\)"),
        ({"lenght": 5}, r"^scene 2: unknown key 'lenght' \(nearest: 'length'\)"),
    ],
)
@pytest.mark.usefixtures("nothing_sampled")
def test_what_is_wrong_in_a_scene_is_told_at_the_node_and_before_the_first_is_sampled(
    pocket: SimpleNamespace, row: dict[str, Any], message: str
) -> None:
    save_preset("neon", NEON)
    rows = ({"prompt": CIRCLE}, {"prompt": STAR} | row)
    with pytest.raises(LoraCoreError, match=message) as caught:
        make(pocket, *rows)
    assert SceneLoras.validate_inputs(json.dumps(rows), "auto") == str(caught.value)


@pytest.mark.parametrize(
    ("scenes", "boundary", "message"),
    [
        ("[]", "auto", "scenes: there is none"),
        ("[{", "auto", "scenes: not JSON"),
        ('[{"prompt": "a"}]', "often", "boundary: 'often' is not a number"),
    ],
)
def test_texts_are_checked_at_the_node(scenes: str, boundary: str, message: str) -> None:
    assert SceneLoras.validate_inputs('[{"prompt": "a"}]', "auto") is True
    assert SceneLoras.validate_inputs(None, None) is True  # from other nodes
    assert str(SceneLoras.validate_inputs(scenes, boundary)).startswith(message)


@pytest.mark.parametrize(
    ("widgets", "message"),
    [
        ({"length": 6}, r"^scene 1 length: 6 is not 4 k \+ 1"),
        ({"width": 40}, r"^scene 1 width: 40 is not a multiple of 16 \(nearest: 32 or 48\)"),
        ({"steps": 1}, r"^scene 1 low_noise expert: it gets no step"),
    ],
)
@pytest.mark.usefixtures("nothing_sampled")
def test_sizes_and_steps_are_checked_before_the_first_is_sampled(
    pocket: SimpleNamespace, widgets: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoraCoreError, match=message):
        make(pocket, {"prompt": CIRCLE}, **widgets)


@pytest.mark.usefixtures("nothing_sampled")
def test_a_changed_lora_of_a_preset_is_found_before_the_first_is_sampled(pocket: SimpleNamespace) -> None:
    file = Path(folder_paths.get_folder_paths("loras")[0]) / "mine.safetensors"
    file.write_bytes(pocket_lora("neon_style", "high_noise").read_bytes())
    try:
        save_preset("mine", {"path": "mine.safetensors"})
        file.write_bytes(pocket_lora("zibbo_character", "high_noise").read_bytes())
        with pytest.raises(LoraCoreError, match=r"^scene 2 preset: a LoRA has changed: .*mine.safetensors"):
            make(pocket, {"prompt": CIRCLE}, {"prompt": STAR, "preset": "mine"})
    finally:
        file.unlink()


@pytest.mark.usefixtures("nothing_sampled")
def test_a_lora_that_does_not_fit_the_model_is_found_before_the_first_is_sampled(pocket: SimpleNamespace) -> None:
    spec = wan_spec("wan2.2-t2v-a14b")
    other = replace(pocket.model, spec=spec, loaded=load_stack(LoraStack(), spec))
    with pytest.raises(LoraCoreError, match=r"^scene 1 .*neon_style"):
        make(SimpleNamespace(**vars(pocket) | {"model": other}), {"prompt": CIRCLE, "loras": [NEON]})


def test_a_model_that_continues_a_picture_is_refused_by_name(pocket: SimpleNamespace) -> None:
    model = replace(pocket.model, spec=wan_spec("wan2.2-i2v-a14b"))
    with pytest.raises(ModelError, match=r"SceneLoras: .*I2V.* continues a picture, .*WanImageToVideo"):
        make(SimpleNamespace(**vars(pocket) | {"model": model}), {"prompt": CIRCLE})


def test_a_vae_of_another_family_is_refused_before_the_first_is_sampled(pocket: SimpleNamespace) -> None:
    model = replace(pocket.model, spec=wan_spec("wan2.2-ti2v-5b"))
    with pytest.raises(ModelError, match=r"SceneLoras: the VAE has 16 channels \(48 for .*5B"):
        make(SimpleNamespace(**vars(pocket) | {"model": model}), {"prompt": CIRCLE})


@pytest.mark.parametrize(
    ("name", "shape"), [("wan2.2-ti2v-5b", (1, 48, 31, 44, 80)), ("wan2.2-t2v-a14b", (1, 16, 31, 88, 160))]
)
def test_the_empty_latent_is_the_familys(name: str, shape: tuple[int, ...]) -> None:
    clip = production.clip_of(Scene("a"), wan_spec(name), 1280, 704, 121)
    assert clip.latent_shape == shape


def test_the_fingerprint_follows_presets_and_files() -> None:
    text = json.dumps([{"prompt": CIRCLE}, {"prompt": STAR, "preset": "neon"}])
    save_preset("neon", NEON)
    before = SceneLoras.fingerprint_inputs(scenes=text, **WIDGETS)
    assert SceneLoras.fingerprint_inputs(scenes=text, **WIDGETS) == before
    save_preset("neon", NEON, ZIBBO)
    assert SceneLoras.fingerprint_inputs(scenes=text, **WIDGETS) != before
