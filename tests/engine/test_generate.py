"""Headless generation: the same video as diffusers' own pipelines fed the same sigmas, and what goes on around it."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_loras import save_lora

from lora_core.checkpoints.checkpoint import Checkpoint
from lora_core.engine.generate import generate
from lora_core.engine.request import GenerationRequest
from lora_core.errors import LoraCoreError, ModelError, RequestError
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.open import open_wan
from lora_core.media.video import read_video
from lora_core.stack.loading import load_stack
from lora_core.stack.stack import LoraStack

SIGMAS = (1.0, 0.96, 0.9, 0.8, 0.5)  # three steps above .875, two below
PROMPT, NEGATIVE = "a red circle moves right on plain background", "blue square"
SMALL = {"num_frames": 5, "height": 32, "width": 64}


def picture(seed=0, height=32, width=64):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def ours(folder, cfg=(1.0, 1.0), **settings):
    request = GenerationRequest(PROMPT, NEGATIVE, sigmas=(*SIGMAS, 0.0), cfg=cfg, seed=3, **{**SMALL, **settings})
    return generate(open_wan(folder), request)


def diffusers_pipeline(folder, kind="WanPipeline"):
    import diffusers

    class GivenSigmas(diffusers.FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, num_inference_steps=None, device=None, **_):
            super().set_timesteps(sigmas=list(SIGMAS), device=device)

    pipeline = getattr(diffusers, kind).from_pretrained(folder, scheduler=GivenSigmas(shift=1.0), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(pipeline, cfg=(1.0, 1.0), *, output_type="latent", **settings):
    """Return what diffusers' pipeline makes of the same request: normalised latents, or frames in [0, 1]."""
    high, low = cfg
    if pipeline.transformer_2 is not None:
        settings["guidance_scale_2"] = low
    return pipeline(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=len(SIGMAS),
        guidance_scale=high,
        generator=torch.Generator().manual_seed(3),
        output_type=output_type,
        **{**SMALL, **settings},
    ).frames


def assert_same_latents(folder, video, expected):
    found = open_wan(folder).normalise(video.latents)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return tiny.save_folder(tmp_path_factory.mktemp("t2v"))


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    return tiny.save_folder(tmp_path_factory.mktemp("i2v"), in_channels=36, boundary_ratio=0.9)


@pytest.fixture(scope="module")
def large_vae_folder(tmp_path_factory):
    return tiny.save_folder(tmp_path_factory.mktemp("ti2v"), two_experts=False, in_channels=48, large_vae=True)


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (4.0, 3.0)])
def test_text_to_video_gives_the_latents_that_diffusers_gives(text_folder, cfg):
    assert_same_latents(text_folder, ours(text_folder, cfg), theirs(diffusers_pipeline(text_folder), cfg))


def test_the_frames_are_those_that_diffusers_decodes(text_folder):
    expected = theirs(diffusers_pipeline(text_folder), output_type="np")[0]
    video = ours(text_folder)
    assert video.frames.dtype == np.uint8
    assert video.frames.shape == expected.shape == (5, 32, 64, 3)
    assert np.abs(video.frames / 255.0 - expected).max() <= 0.5 / 255 + 1e-4


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (3.5, 3.5)])
@pytest.mark.parametrize("with_last", [False, True])
def test_image_to_video_gives_the_latents_that_diffusers_gives(image_folder, cfg, with_last):
    pictures = {"image": picture()} | ({"last_image": picture(1)} if with_last else {})
    expected = theirs(diffusers_pipeline(image_folder, "WanImageToVideoPipeline"), cfg, **pictures)
    assert_same_latents(image_folder, ours(image_folder, cfg, **pictures), expected)


@pytest.fixture(scope="module")
def clip_folders(tmp_path_factory):
    """Wan 2.1's image models, by whether they want a first and a last picture."""
    return {
        first_and_last: tiny.save_folder(
            tmp_path_factory.mktemp("i2v21"),
            two_experts=False,
            in_channels=36,
            image_encoder=tiny.image_encoder(),
            first_and_last=first_and_last,
        )
        for first_and_last in (False, True)
    }


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (5.0, 5.0)])
@pytest.mark.parametrize("first_and_last", [False, True])
def test_wan_2_1_image_to_video_gives_the_latents_that_diffusers_gives(clip_folders, cfg, first_and_last):
    folder = clip_folders[first_and_last]
    pictures = {"image": picture()} | ({"last_image": picture(1)} if first_and_last else {})
    expected = theirs(diffusers_pipeline(folder, "WanImageToVideoPipeline"), cfg, **pictures)
    assert_same_latents(folder, ours(folder, cfg, **pictures), expected)


def test_what_wan_2_1_sees_through_clip_changes_the_video(clip_folders, monkeypatch):
    seen = ours(clip_folders[False], image=picture()).latents
    monkeypatch.setattr(WanModel, "encode_picture", lambda model, _: torch.zeros(1, 5, tiny.IMAGE_WIDTH))
    assert (ours(clip_folders[False], image=picture()).latents - seen).abs().max() > 1e-2


def test_wan_2_1_image_to_video_also_takes_a_last_picture(clip_folders):
    one = ours(clip_folders[False], image=picture())
    two = ours(clip_folders[False], image=picture(), last_image=picture(1))
    assert (two.latents - one.latents).abs().max() > 1e-2


def test_a_lora_on_the_image_branch_is_read_and_acts(clip_folders, tmp_path):
    shapes = open_wan(clip_folders[False]).spec.shapes
    generator = torch.Generator().manual_seed(0)
    latents = [ours(clip_folders[False], image=picture()).latents]
    for target in ("blocks.0.cross_attn.k_img", "blocks.1.cross_attn.v_img", "img_emb.proj.1", "img_emb.proj.3"):
        outputs, inputs = shapes[target]
        pair = {"A": torch.randn(2, inputs, generator=generator), "B": torch.randn(outputs, 2, generator=generator)}
        path = tmp_path / f"{target}.safetensors"
        save_file({f"diffusion_model.{target}.lora_{k}.weight": tensor for k, tensor in pair.items()}, path)
        request = GenerationRequest(PROMPT, image=picture(), sigmas=(*SIGMAS, 0.0), seed=3, **SMALL)
        stack = load_stack(LoraStack().add(path), open_wan(clip_folders[False]).spec)
        assert stack.loras[0].weights.account.summary() == "2 tensors: 2 applied"
        latents.append(generate(open_wan(clip_folders[False]), request, stack).latents)
    assert all((latents[0] - changed).abs().max() > 1e-3 for changed in latents[1:])


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (5.0, 5.0)])
@pytest.mark.parametrize("with_picture", [False, True])
def test_the_5b_model_gives_the_latents_that_diffusers_gives(large_vae_folder, cfg, with_picture):
    pictures = {"image": picture()} if with_picture else {}
    kind = "WanImageToVideoPipeline" if with_picture else "WanPipeline"
    expected = theirs(diffusers_pipeline(large_vae_folder, kind), cfg, **pictures)
    video = ours(large_vae_folder, cfg, **pictures)
    assert_same_latents(large_vae_folder, video, expected)


@pytest.mark.parametrize("cfg", [(1.0, 1.0), (4.0, 4.0)])
def test_a_model_of_one_expert_gives_the_latents_that_diffusers_gives(tmp_path, cfg):
    folder = tiny.save_folder(tmp_path, two_experts=False)
    video = ours(folder, cfg)
    assert {step.expert for step in video.plan.steps} == {"low_noise"}
    assert_same_latents(folder, video, theirs(diffusers_pipeline(folder), cfg))


# ---------------------------------------------------------------- beside diffusers


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tiny.save_files(tmp_path_factory.mktemp("files"))


def test_single_files_and_a_folder_give_the_same_video(files, text_folder):
    request = GenerationRequest(PROMPT, num_steps=4, seed=3, **SMALL)
    from_files = generate(open_wan(files.high, **files.arguments()), request)
    from_folder = generate(open_wan(text_folder), request)
    tiny.assert_alike(from_files.latents, from_folder.latents)


@pytest.mark.parametrize("offload", ["experts", "blocks"])
def test_offloading_gives_the_same_video_bit_for_bit(files, tmp_path, offload):
    stack = LoraStack().add(save_lora(tmp_path / "a.safetensors"), 0.7, "both")
    request = GenerationRequest(PROMPT, num_steps=4, seed=3, cfg=(2.0, 1.0), **SMALL)
    kept = generate(open_wan(files.high, **files.arguments()), request, stack)
    moved = generate(open_wan(files.high, **files.arguments(), offload=offload), request, stack)
    assert torch.equal(moved.latents, kept.latents)


def test_half_precision_stays_close_to_full(files):
    request = GenerationRequest(PROMPT, num_steps=4, seed=3, **SMALL)
    full, half = (
        generate(open_wan(files.high, **files.arguments(), dtype=dtype), request).latents
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.05 * full.abs().max()


def test_the_same_seed_gives_the_same_video_and_another_seed_another(files):
    model = open_wan(files.high, **files.arguments())
    first, again, other = (
        generate(model, GenerationRequest(PROMPT, num_steps=3, seed=seed, **SMALL)) for seed in (5, 5, 6)
    )
    assert torch.equal(first.latents, again.latents)
    assert np.array_equal(first.frames, again.frames)
    assert not torch.equal(first.latents, other.latents)


def test_a_video_starts_from_given_latents_and_keeps_more_of_them_at_lower_denoise(files):
    model = open_wan(files.high, **files.arguments())
    start = generate(model, GenerationRequest(PROMPT, num_steps=3, seed=5, **SMALL)).latents
    distances = []
    for denoise in (0.25, 0.5, 0.75):
        request = GenerationRequest(PROMPT, num_steps=3, seed=6, latents=start, denoise=denoise, **SMALL)
        distances.append(float((generate(model, request).latents - start).norm()))
    assert distances == sorted(distances)


def test_start_latents_that_could_do_nothing_are_refused(files):
    model = open_wan(files.high, **files.arguments())
    with pytest.raises(RequestError) as error:
        generate(model, GenerationRequest(PROMPT, latents=torch.ones(1, 16, 2, 4, 8), **SMALL))
    what = "the first step, at sigma 1, puts nothing but noise in their place"
    assert str(error.value) == f"latents: {what}. Lower denoise, or leave them out."


@pytest.mark.parametrize(
    ("prompts", "cfg", "note"),
    [
        (("a red dragon", ""), 1.0, "prompt: the text encoder does not know 'dragon'"),
        (("red", "dragon"), 1.0, "negative prompt: cfg is 1 at every step, so it is not read"),
        (("red", "dragon"), 2.0, "negative prompt: the text encoder does not know 'dragon'"),
        (("red " * 600, ""), 1.0, "prompt: of its 601 tokens only the first 512 are read"),
    ],
)
def test_what_of_a_prompt_is_not_taken_in_is_noted(files, prompts, cfg, note):
    request = GenerationRequest(*prompts, cfg=cfg, num_steps=2, **SMALL)
    video = generate(open_wan(files.high, **files.arguments()), request)
    assert note in video.notes
    assert video.record["notes"] == [note]


def test_latents_that_overflow_are_an_error_and_no_black_video(files, tmp_path):
    stack = LoraStack().add(save_lora(tmp_path / "a.safetensors"), 1e30, "both")
    with pytest.raises(ModelError, match="the latents came out infinite or NaN"):
        generate(open_wan(files.high, **files.arguments()), GenerationRequest(PROMPT, num_steps=3, **SMALL), stack)


def test_a_video_saves_itself(files, tmp_path):
    video = generate(open_wan(files.high, **files.arguments()), GenerationRequest(PROMPT, num_steps=2, **SMALL))
    found, fps = read_video(video.save(tmp_path / "out" / "a.mp4", scale=2))
    assert found.shape == (5, 64, 128, 3)
    assert fps == 16.0


@pytest.fixture
def reading_forbidden(monkeypatch):
    def tensors(self):
        raise AssertionError(f"{self.path} was read")

    monkeypatch.setattr(Checkpoint, "tensors", tensors)


@pytest.mark.usefixtures("reading_forbidden")
def test_a_model_that_looks_through_clip_says_that_no_encoder_is_there_before_anything_runs(tmp_path):
    high = tiny.save_native(tiny.image_transformer(), tmp_path / "wan21.safetensors")
    arguments = tiny.save_files(tmp_path).arguments() | {"low_noise": None}
    model = open_wan(high, **arguments)
    with pytest.raises(ModelError) as error:
        generate(model, GenerationRequest(PROMPT, image=picture(), **SMALL))
    expected = "a CLIP vision encoder, such as clip_vision_h.safetensors"
    what = f"it was opened without an image encoder ({expected})"
    assert str(error.value) == f"{model.spec.title}: {what}. Pass its path as image_encoder."


@pytest.mark.usefixtures("reading_forbidden")
def test_a_first_and_last_frame_model_asks_for_the_last_frame(clip_folders):
    with pytest.raises(RequestError) as error:
        ours(clip_folders[True], image=picture())
    what = "Wan (width 64, 2 blocks) goes from a first to a last picture and no last one is given"
    assert str(error.value) == f"last_image: {what}. Give a last_image."


@pytest.mark.usefixtures("reading_forbidden")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "steps: 0 steps"),
        ({"boundary": 1.5}, "boundary: 1.5 is outside"),
        ({"boundary": 875}, "Divide a timestep by 1000: 0.875"),
        ({"height": 40}, "height: 40 is not a multiple of 16"),
        ({"image": picture()}, "image: .* makes video from text alone"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_a_network_is_read(files, settings, message):
    model = open_wan(files.high, **files.arguments())
    with pytest.raises(LoraCoreError, match=message):
        generate(model, GenerationRequest(PROMPT, **{**SMALL, **settings}))
