"""LoRAs in a part of the clip, from a request to its record, and what is refused on the way."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_loras import save_lora

from lora_core.attention.wishes import RadialWishes
from lora_core.engine.checked import check_request
from lora_core.engine.generate import generate
from lora_core.engine.guide import Guide
from lora_core.engine.record import REGIONAL_FORMAT, request_from_record, stack_from_record
from lora_core.engine.request import GenerationRequest
from lora_core.engine.shared import whole_of
from lora_core.errors import ModelError, RequestError, StackError
from lora_core.families.wan.open import open_wan
from lora_core.plan.planning import make_plan
from lora_core.plan.steering import SteerSettings
from lora_core.regions.clip_mask import ClipSize, clip_masks
from lora_core.sampling.noise import draw_noise
from lora_core.sampling.sample import sample
from lora_core.stack.loading import load_stack
from lora_core.stack.region import Region
from lora_core.stack.stack import LoraStack

SMALL = {"num_frames": 5, "height": 32, "width": 32, "seed": 7, "num_steps": 4}
REQUEST = GenerationRequest("a red circle", **SMALL)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    files = tiny.save_files(tmp_path_factory.mktemp("model"))
    return open_wan(files.high, **files.arguments())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    return [save_lora(folder / f"{name}.safetensors", seed) for seed, name in enumerate("ab")]


@pytest.fixture
def mask(tmp_path):
    pixels = np.zeros((32, 32), np.uint8)
    pixels[:, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def made(model, stack, request=REQUEST):
    return generate(model, request, stack)


def test_all_of_the_clip_is_no_region_bit_for_bit_on_both_experts(model, files):
    plain = LoraStack().add(files[0], 0.7)
    whole = LoraStack().add(files[0], 0.7, region="all", over_time="from 0s")
    none = LoraStack().add(files[0], 0.7, region="not all")
    assert torch.equal(made(model, whole).latents, made(model, plain).latents)
    assert torch.equal(made(model, none).latents, made(model, None).latents)


def test_one_lora_on_two_sides_is_that_lora(model, files):
    plain = LoraStack().add(files[0], 0.7)
    sides = LoraStack().add(files[0], 0.7, region="left; soft=0", name="left")
    sides = sides.add(files[0], 0.7, region="not left; soft=0", name="right")
    found, expected = made(model, sides).latents, made(model, plain).latents
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(made(model, LoraStack(sides.entries[:1])).latents, expected, atol=1e-2)


def test_radial_attention_leaves_tokens_where_their_masks_are(model, files):
    """Long clips reorder tokens inside self-attention alone; one LoRA on two sides is still that LoRA."""
    request, radial = replace(REQUEST, num_frames=33), RadialWishes(first_steps=1, last_steps=1, block_size=16)
    plain = LoraStack().add(files[0], 0.7)
    sides = LoraStack().add(files[0], 0.7, region="top; soft=0", over_time="from frame 17; hard", name="there")
    sides = sides.add(files[0], 0.7, region="not top; soft=0", over_time="from frame 17; hard", name="below")
    sides = sides.add(files[0], 0.7, over_time="until frame 17; hard", name="before")
    found, expected, none = (
        generate(model, request, stack, radial=radial).latents for stack in (sides, plain, LoraStack())
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(expected, none, atol=1e-2)


def test_a_record_tells_the_masks_and_makes_the_video_again(model, files, mask):
    stack = LoraStack().add(files[0], 0.7, region=f"not {mask}; soft=0").add(files[1], over_time="from frame 2")
    video = made(model, stack)
    record = json.loads(json.dumps(video.record))
    assert record["format"] == REGIONAL_FORMAT
    assert record["masks"]["a"]["tokens"] == [2, 2, 2]
    assert record["masks"]["a"]["mean"] == 0.5
    assert [row.get("time") for row in record["loras"]] == [None, "from 2f"]
    assert record["plan"]["loras"][0]["region"] == f"not {mask}; soft=0"
    again = generate(model, request_from_record(record), stack_from_record(record))
    assert torch.equal(again.latents, video.latents)
    Image.new("L", (32, 32)).save(mask)
    with pytest.raises(StackError, match=r"a mask has changed: .*mask.png has sha256"):
        stack_from_record(record)


def test_a_mask_in_memory_is_told_by_its_hash_and_cannot_be_made_again(model, files):
    stack = LoraStack().add(files[0], region=Region(pixels=np.eye(32)))
    record = made(model, stack).record
    assert record["loras"][0]["mask_in_memory"] == stack.entries[0].region.pixels_sha256
    with pytest.raises(RequestError, match="the mask of 'a' was made in memory"):
        stack_from_record(record)


def test_masks_tell_runs_from_each_other_by_what_is_in_them(model, files, mask):
    def key(region):
        return whole_of(model.spec, REQUEST, check_request(model, REQUEST, LoraStack().add(files[0], region=region)))

    in_memory = [Region(pixels=pixels) for pixels in (np.eye(32), np.ones((32, 32)) / 2)]
    keys = [*map(key, in_memory), key(str(mask))]
    Image.new("L", (32, 32), 100).save(mask)
    assert len({*keys, key(str(mask))}) == 4


def test_the_plan_says_where_and_when(model, files):
    stack = LoraStack().add(files[0], region="left").add(files[1], over_time="from frame 2")
    plan = make_plan(load_stack(stack, model.spec), model.spec, num_steps=4)
    assert plan.places == {"a": "region left", "b": "time from 2f"}
    assert "a in region left" in plan.table()
    assert plan.over(9, 8.0).figure().axes[2].get_ylabel() == "over time"


def test_what_has_no_place_in_the_clip_is_counted_and_named(model, tmp_path):
    file = tmp_path / "wide.safetensors"
    names = ("blocks.0.self_attn.q", "blocks.0.modulation")
    shapes = (tiny.WIDTH, tiny.WIDTH), (1, 6, tiny.WIDTH)
    save_file({f"diffusion_model.{n}.diff": torch.ones(s) for n, s in zip(names, shapes, strict=True)}, file)
    stack = LoraStack().add(file, region="left")
    plan = make_plan(load_stack(stack, model.spec), model.spec, num_steps=4)
    assert [lora["without_place"] for lora in plan.to_dict()["loras"]] == [["blocks.0.modulation"]] * 2
    notes = [advice for advice in plan.advice if advice.rule == "without-place"]
    assert "1 of its 2 changes have no place in the clip (blocks.0.modulation)" in notes[0].text


def test_a_row_that_is_off_asks_nothing_of_its_mask(model, files, tmp_path):
    stack = LoraStack().add(files[0]).add(files[1], region=str(tmp_path / "missing.png"))
    off = LoraStack((stack.entries[0], replace(stack.entries[1], enabled=False)))
    assert "masks" not in made(model, off).record


def test_what_cannot_have_masks_says_so_before_a_network_runs(model, files):
    stack = LoraStack().add(files[0], region="left")
    guide = Guide(model, load_stack(stack, model.spec), SteerSettings())
    with pytest.raises(StackError, match=r"^guide: a has a region or a time"):
        check_request(model, REQUEST, guide=guide)
    with pytest.raises(RequestError, match=r"^region: several processes do not compute one clip with it"):
        check_request(model, REQUEST, stack, parallel=object.__new__(_context_parallel()))
    late = LoraStack().add(files[0], over_time="from 9s")
    with pytest.raises(StackError, match=r"^LoRA 'a' time: from 9s leaves it nothing"):
        check_request(model, REQUEST, late)


def _context_parallel():
    from lora_core.sampling.context_parallel import ContextParallel

    return ContextParallel


def test_a_sampler_that_is_given_no_masks_refuses_and_one_that_is_given_strange_ones_too(model, files):
    from lora_core.engine.generate import _told

    stack = LoraStack().add(files[0], region="left")
    loaded = load_stack(stack, model.spec)
    plan = make_plan(loaded, model.spec, num_steps=4)
    clip = REQUEST.clip(model.spec)
    condition = _told(model, (model.encode_text(REQUEST.prompt), None), clip)
    noise = draw_noise(clip.latent_shape, 0)
    with pytest.raises(RequestError, match=r"^masks: a has a region or a time, and no mask"):
        sample(model, plan, noise, condition)
    masks = clip_masks(plan.route.all, ClipSize(5, 32, 32, 16.0), model.spec)
    with pytest.raises(RequestError, match=r"^masks: there is one for b"):
        sample(model, plan, noise, condition, masks={**masks, "b": masks["a"]})
    with pytest.raises(ModelError, match=r"^masks: a module of the network meets 8 tokens"):
        sample(model, plan, noise, condition, masks={"a": torch.rand(3, 2, 2)})


def test_a_clip_of_one_frame_may_have_a_region(model, files):
    request = replace(REQUEST, num_frames=1)
    assert len(made(model, LoraStack().add(files[0], region="top"), request).frames) == 1
