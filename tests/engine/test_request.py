"""A request: what a model cannot make is said at once, with the nearest it can."""

import numpy as np
import pytest
import torch
from PIL import Image

from lora_core.engine.request import GenerationRequest, fit_picture, open_picture
from lora_core.errors import RequestError
from lora_core.families.wan.spec import wan_spec
from lora_core.sampling.noise import MAX_SEED

POCKET, T2V, I2V, TI2V = (
    wan_spec(name) for name in ("wan-pocket", "wan2.2-t2v-a14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b")
)
PICTURE = np.zeros((48, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": None}, "prompt: None is not text (a string, perhaps empty). Give a text."),
        ({"negative_prompt": 3}, "negative_prompt: 3 is not text (a string, perhaps empty). Give a text."),
        ({"seed": -1}, f"seed: -1 is out of range (0 to {MAX_SEED}). Choose a number in that range."),
        ({"seed": 2**64}, f"seed: {2**64} is out of range (0 to {MAX_SEED}). Choose a number in that range."),
        ({"seed": 1.5}, f"seed: 1.5 is not a whole number (0 to {MAX_SEED}). Give a whole number."),
        ({"solver": "eular"}, "solver: unknown value 'eular' (nearest: 'euler'). Choose one that there is."),
        ({"fps": 0}, "fps: cannot play 0 frames per second (0.01 to 240). Choose a number in that range."),
        ({"denoise": 0.5}, "denoise: 0.5 has nothing to start from. Give latents, or leave denoise at 1."),
    ],
)
def test_what_no_model_can_do_is_refused_when_the_request_is_made(settings, message):
    with pytest.raises(RequestError) as error:
        GenerationRequest(**{"prompt": "a red circle", **settings})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (POCKET, {"height": 100}, "height: 100 is not a multiple of 16 (nearest: 96 or 112). Choose one of them."),
        (POCKET, {"width": 0}, "width: 0 is out of range (16 to 16384). Choose a number in that range."),
        (POCKET, {"width": 64.0}, "width: 64.0 is not a whole number (16 to 16384). Give a whole number."),
        (TI2V, {"width": 720}, "width: 720 is not a multiple of 32 (nearest: 704 or 736). Choose one of them."),
        (POCKET, {"num_frames": 16}, "num_frames: 16 is not 4 k + 1 (nearest: 13 or 17). Choose one of them."),
        (POCKET, {"num_frames": 0}, "num_frames: 0 is out of range (1 to 4093). Choose a number in that range."),
        (
            T2V,
            {"image": PICTURE},
            "image: Wan 2.2 T2V A14B makes video from text alone. Leave the image out.",
        ),
        (I2V, {}, "image: Wan 2.2 I2V A14B continues a picture and none is given. Give an image."),
        (
            TI2V,
            {"image": PICTURE, "last_image": PICTURE},
            "last_image: Wan 2.2 TI2V 5B has no way to be told its last frame. Leave it out.",
        ),
        (
            I2V,
            {"image": PICTURE, "last_image": PICTURE, "num_frames": 1},
            "last_image: a clip of 1 frame has no last frame of its own. Leave it out.",
        ),
        (
            POCKET,
            {"latents": torch.zeros(1, 16, 4, 8, 8)},
            "latents: their shape is (1, 16, 4, 8, 8) ((1, 16, 5, 8, 8) for 17 frames of 64x64). "
            "Give latents of that size.",
        ),
        (I2V, {"image": 3}, "image: int is no picture (a file, PIL image or array). Give a picture."),
        (
            I2V,
            {"image": np.zeros((4, 4))},
            "image: an array of shape (4, 4) and type float64 ((H, W, 3) of uint8). Convert it first.",
        ),
    ],
)
def test_what_this_model_cannot_do_is_refused_before_anything_runs(spec, settings, message):
    with pytest.raises(RequestError) as error:
        GenerationRequest("a red circle", **settings).clip(spec)
    assert str(error.value) == message


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"none\.png: cannot be opened: No such file or directory"):
        GenerationRequest("x", image=tmp_path / "none.png").clip(I2V)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(RequestError, match=r"text\.png: is not a picture"):
        GenerationRequest("x", image=str(tmp_path / "text.png")).clip(I2V)


def test_the_model_fills_in_what_is_not_said():
    clip = GenerationRequest("x").clip(POCKET)
    assert (clip.num_frames, clip.height, clip.width, clip.fps) == (17, 64, 64, 16.0)
    assert clip.latent_shape == (1, 16, 5, 8, 8)
    clip = GenerationRequest("x").clip(T2V)
    assert (clip.num_frames, clip.height, clip.width, clip.fps) == (81, 480, 832, 16.0)
    clip = GenerationRequest("x", num_frames=5).clip(TI2V)
    assert (clip.num_frames, clip.height, clip.width, clip.fps) == (5, 704, 1280, 24.0)
    assert clip.latent_shape == (1, 48, 2, 44, 80)


def test_a_picture_alone_decides_the_proportions():
    upright = GenerationRequest("x", image=np.zeros((960, 540, 3), np.uint8)).clip(I2V)
    assert upright.height % 16 == upright.width % 16 == 0
    assert upright.height / upright.width == pytest.approx(960 / 540, rel=0.03)
    assert upright.height * upright.width == pytest.approx(480 * 832, rel=0.05)
    assert upright.first.size == (upright.width, upright.height)
    told = GenerationRequest("x", image=PICTURE, height=64).clip(I2V)
    assert (told.height, told.width) == (64, 832)


def test_a_picture_covers_the_frame_and_is_cut_around_its_centre():
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, :32], wide[:, 32:64], wide[:, 64:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    fitted = np.asarray(fit_picture(Image.fromarray(wide), 64, 64))
    assert fitted.shape == (64, 64, 3)
    assert (fitted[:, 8:-8] == (0, 255, 0)).all()


def test_a_picture_of_the_right_size_is_not_touched():
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(fit_picture(open_picture(noise), 32, 48)), noise)


def test_pictures_come_as_files_images_or_arrays(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    for picture in (noise, Image.fromarray(noise), tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(np.asarray(open_picture(picture)), noise)
