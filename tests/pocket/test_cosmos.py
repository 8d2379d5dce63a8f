"""The pocket Cosmos goes on from the frames it is given, as the prompt says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_core import GenerationRequest, LoraStack, WanVideoGenerator, generate
from lora_core.engine.world import WorldRequest
from lora_core.families.cosmos.pocket import POCKET_COSMOS, POCKET_COSMOS_LORA, cosmos_pocket
from lora_core.pocket import world
from lora_core.pocket.measure import read_clip
from lora_core.pocket.quality import psnr_db

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENE = world.random_scene(np.random.default_rng(3), colour="red", shape="cross", motion="left", background="striped")


@pytest.fixture(scope="module")
def generator() -> WanVideoGenerator:
    return WanVideoGenerator(POCKET_COSMOS)


def made(generator: WanVideoGenerator, words: str, count: int) -> np.ndarray:
    """Return a clip in [-1, 1] that goes on from the first frames of the scene."""
    pixels = ((world.draw(SCENE)[:count] + 1) * 127.5).round().astype(np.uint8)
    settings = {"num_steps": 8, "cfg": 2.0, "seed": 1}
    return generator.generate_video(words, first_frames=list(pixels), **settings).frames.astype(np.float32) / 127.5 - 1


@pytest.mark.parametrize("count", [1, 5])
def test_a_video_keeps_what_it_was_given_and_goes_where_the_words_say(generator: WanVideoGenerator, count: int) -> None:
    frames = made(generator, world.caption(SCENE), count)
    seen = read_clip(frames)
    assert (seen.colour, seen.shape, seen.motion) == ("red", "cross", "left")
    assert psnr_db(frames[:count], world.draw(SCENE)[:count]) > 28


def test_other_words_take_the_same_picture_elsewhere(generator: WanVideoGenerator) -> None:
    frames = made(generator, world.caption(SCENE).replace("left", "down"), 1)
    assert read_clip(frames).motion == "down"
    assert psnr_db(frames[:1], world.draw(SCENE)[:1]) > 28


#: Those without a LoRA, which has a test of its own.
SHIPPED_JOBS = [job for job in json.loads((EXAMPLES / "jobs" / "world_jobs.json").read_text()) if "loras" not in job]


@pytest.mark.parametrize("job", SHIPPED_JOBS, ids=lambda job: job["output_video"])
def test_the_shipped_list_shows_what_its_prompts_say(job: dict[str, Any], generator: WanVideoGenerator) -> None:
    asked = {key: value for key, value in job.items() if key not in ("input_video", "output_video")}
    request = WorldRequest(input=EXAMPLES.parent / job["input_video"], num_steps=6, **asked)
    frames = generate(generator.model, request.on(generator.model)).frames.astype(np.float32) / 127.5 - 1
    _, colour, shape, _, motion, *_ = job["prompt"].split()
    each = [read_clip(frames[count : count + 5]) for count in (0, 6, 12)]
    assert [(seen.colour, seen.shape) for seen in each] == [(colour, shape)] * 3
    assert read_clip(frames).motion == motion


def test_its_lora_is_taken_out_of_the_checkpoint_it_was_trained_in(generator: WanVideoGenerator) -> None:
    pixels = ((world.draw(SCENE)[:1] + 1) * 127.5).round().astype(np.uint8)
    words = world.caption(SCENE).replace("moves left", "orbits")
    request = GenerationRequest(words, image=pixels[0], num_steps=12, cfg=3.5, seed=1)
    frames = generate(generator.model, request, LoraStack().add(POCKET_COSMOS_LORA)).frames
    assert read_clip(frames.astype(np.float32) / 127.5 - 1).motion == "orbits"


def test_the_measured_table_keeps_its_promises() -> None:
    rows = json.loads(cosmos_pocket().with_name("cosmos_quality.json").read_text())["rows"]
    usual = [row for row in rows if row["num_steps"] == 30 and row["name"].startswith("from a picture")]
    assert len(usual) == 2
    without, _, with_lora = (row for row in rows if row["name"] == "orbit")
    assert (without["orbit"], with_lora["orbit"]) == (0, 1)
    for row in usual:
        assert row["first_frame_psnr_db"] >= 28
        assert all(row[what] >= 0.95 for what in ("colour", "shape", "motion"))
    assert cosmos_pocket().stat().st_size < 8_000_000
