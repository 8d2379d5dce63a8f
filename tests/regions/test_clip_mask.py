"""Masks over the tokens of a clip: where a box lies, when a time is, and what becomes of a mask's pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lora_core.errors import RequestError, StackError
from lora_core.families.wan.spec import wan_spec
from lora_core.media.video import save_video
from lora_core.regions.clip_mask import ClipSize, clip_mask, clip_masks, mask_notes
from lora_core.stack.region import PLACES, Region
from lora_core.stack.time_curve import TimeCurve

SPEC = wan_spec("wan2.2-t2v-a14b")  # strides of 4, 8, 8 and patches of 1, 2, 2: tokens of 16 pixels
CLIP = ClipSize(17, 64, 96, 16.0)


def mask_of(region=None, time=None, clip=CLIP, **how):
    region = Region.parse(region) if isinstance(region, str) else region
    return clip_mask(region, None if time is None else TimeCurve.parse(time), clip, SPEC, **how)


def test_a_token_takes_the_share_of_its_pixels():
    mask = mask_of("0,0,0.5,1; soft=0")
    assert mask.shape == (5, 4, 6)
    assert torch.equal(mask, torch.tensor([1.0, 1, 1, 0, 0, 0]).expand(5, 4, 6))
    quarter = mask_of("0,0,0.25,1; soft=0")  # 24 of 96 pixels: a token and a half
    torch.testing.assert_close(quarter[0, 0], torch.tensor([1.0, 0.5, 0, 0, 0, 0]))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("soft", ["", "; soft=0", "; soft=0.3"])
def test_a_place_and_the_rest_of_the_picture_are_the_whole(place, soft):
    both = mask_of(f"{place}{soft}") + mask_of(f"not {place}{soft}")
    torch.testing.assert_close(both, torch.ones_like(both))


def test_all_of_the_picture_is_exactly_one_and_none_of_it_exactly_zero():
    assert torch.equal(mask_of("all"), torch.ones(5, 4, 6))
    assert torch.equal(mask_of("not all"), torch.zeros(5, 4, 6))
    assert torch.equal(mask_of("all", "from 0s"), torch.ones(5, 4, 6))


def test_an_edge_is_soft_unless_it_is_said_to_be_hard_and_the_border_is_none():
    soft = mask_of("left; soft=0.5")[0, 0]
    assert soft[0] == 1
    assert soft[-1] == 0
    assert 0 < soft[3] < 0.5 < soft[2] < 1
    assert mask_of("left")[0, 0, 2] < 1


def test_the_first_frame_is_a_latent_frame_of_its_own_and_four_share_one():
    mask = mask_of(time="0f=0,16f=16; hard")[:, 0, 0]
    torch.testing.assert_close(mask, torch.tensor([0.0, 2.5, 6.5, 10.5, 14.5]))
    sudden = mask_of(time="from frame 9; hard")[:, 0, 0]
    assert sudden.tolist() == [0, 0, 0, 1, 1]
    assert mask_of(time="from 0.5s")[:, 0, 0].tolist() == [0, 0, 0.1875, 0.9375, 1]  # frames 6 to 10 go up


def test_region_and_time_multiply():
    both = mask_of("left", "from frame 9")
    torch.testing.assert_close(both, mask_of("left") * mask_of(time="from frame 9"))


def test_a_window_of_a_clip_has_the_masks_of_its_place_in_the_whole():
    whole = mask_of("left", "0s=0,1s=1")
    assert torch.equal(mask_of("left", "0s=0,1s=1", frames=[2, 3, 4]), whole[2:])
    with pytest.raises(StackError, match=r"^masks: latent frame 5 is not in the clip \(0 to 4\)"):
        mask_of("left", frames=[4, 5])


def test_a_clip_of_one_frame_has_one_latent_frame():
    assert mask_of("left", clip=ClipSize(1, 64, 96, 16.0)).shape == (1, 4, 6)
    assert mask_of(time="from 0s", clip=ClipSize(1, 64, 96, 16.0)).tolist() == torch.ones(1, 4, 6).tolist()


def test_a_picture_is_stretched_to_the_clip_and_white_acts(tmp_path):
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:, :12] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    found = mask_of(Region(path=tmp_path / "mask.png", soft=0))
    torch.testing.assert_close(found, mask_of("left; soft=0"), atol=0.1, rtol=0)
    assert torch.equal(found[0, 0, [0, 1, 4, 5]], torch.tensor([1.0, 1, 0, 0]))
    in_memory = Region(pixels=pixels / 255, soft=0)
    assert torch.equal(mask_of(in_memory), found)


def test_a_mask_video_moves_with_the_clip_frame_by_frame(tmp_path):
    frames = np.zeros((17, 64, 96, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, : 48 if number < 9 else 96] = 255
    save_video(frames, tmp_path / "mask.mkv", 16)
    found = mask_of(Region(path=tmp_path / "mask.mkv", soft=0))
    assert torch.equal(found[2], mask_of("left; soft=0")[2])
    assert torch.equal(found[3:], torch.ones(2, 4, 6))


def test_a_mask_video_of_another_length_is_refused(tmp_path):
    save_video(np.zeros((12, 16, 16, 3), np.uint8), tmp_path / "mask.mkv", 16)
    with pytest.raises(StackError, match=r"mask.mkv: the mask has 12 frames, the clip 17 \(1, or 17: each is"):
        mask_of(Region(path=tmp_path / "mask.mkv"))
    with pytest.raises(StackError, match=r"^region: the mask has 5 frames"):
        mask_of(Region(pixels=np.ones((5, 8, 8))))


@pytest.mark.parametrize("name", ["mask.png", "mask.mp4", "mask.gif"])
def test_a_mask_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(RequestError, match=r"mask\.\w+: there is no such"):
        mask_of(Region(path=tmp_path / name))
    (tmp_path / name).write_bytes(b"no picture at all")
    with pytest.raises(RequestError, match=r"mask\.\w+: (is not a picture|cannot be read as a video|is a damaged)"):
        mask_of(Region(path=tmp_path / name))


def test_a_damaged_picture_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "mask.png")
    whole = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError, match=r"mask\.png: is a damaged mask"):
        mask_of(Region(path=tmp_path / "mask.png"))


def lora(name, region=None, time=None):
    return SimpleNamespace(
        name=name,
        region=None if region is None else Region.parse(region),
        over_time=None if time is None else TimeCurve.parse(time),
    )


def test_a_time_beyond_the_clip_is_refused_and_one_that_goes_on_beyond_it_is_told():
    with pytest.raises(
        StackError, match=r"^LoRA 'b' time: from 6s leaves it nothing of the clip \(a time within its 17"
    ):
        clip_masks([lora("a"), lora("b", time="from 6s")], CLIP, SPEC)
    loras = [lora("a", time="until 3s"), lora("b", "not all"), lora("c")]
    masks = clip_masks(loras, CLIP, SPEC)
    assert list(masks) == ["a", "b"]
    assert mask_notes(masks, loras, CLIP) == (
        "note: a: its time goes on to 3 s, and the clip ends at 1.06 s",
        "warning: b: its mask is black everywhere, so it does nothing",
    )


@pytest.mark.parametrize("size", [(0, 64, 96, 16.0), (17, 64, 96, 0.0), (17, 64.5, 96, 16.0)])
def test_a_clip_that_is_none_is_refused(size):
    with pytest.raises(StackError):
        ClipSize(*size)


def test_the_rest_is_what_the_others_leave_over():
    others = [lora("a", "left"), lora("b", "top-right; soft=0", "from frame 9; hard"), lora("everywhere")]
    masks = clip_masks([lora("c", "rest"), *others, lora("d", "not rest", "until frame 9; hard")], CLIP, SPEC)
    assert list(masks) == ["c", "a", "b", "d"]
    torch.testing.assert_close(masks["c"], (1 - masks["a"] - masks["b"]).clamp(min=0))
    assert masks["c"][0, 0, -1] == 1
    assert masks["c"][-1, 0, -1] == 0
    torch.testing.assert_close(masks["d"], (1 - masks["c"]) * mask_of(None, "until frame 9; hard"))


def test_the_rest_of_nothing_is_refused():
    with pytest.raises(StackError, match=r"^LoRA 'a' region rest: no other LoRA of the stack has a region"):
        clip_masks([lora("a", "rest"), lora("b", "rest"), lora("c", None, "from 0.5s")], CLIP, SPEC)
    with pytest.raises(StackError, match=r"^region rest: what is left by others has no mask of its own"):
        mask_of("rest")
