"""The demo, run whole on the shipped model: the files it makes, and that each LoRA means what its name says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lora_core import read_video
from lora_core.cli.demo import RUNS, command
from lora_core.cli.demo_training import FILES
from lora_core.cli.main import cli
from lora_core.pocket.measure import Reading, read_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo once, as its page of help has it."""
    beside = tmp_path_factory.mktemp("demo")
    _, *arguments = shlex.split(command.examples[0])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(beside)
        ended = CliRunner().invoke(cli, ["--quiet", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0
    return beside / "demo"


def _seen(folder: Path, run: str) -> Reading:
    frames = read_video(folder / f"{run}.mp4")[0]
    shrunk = frames[:, 3::6, 3::6].astype(np.float32)  # the demo enlarges each pixel to a square of 6
    return read_clip(shrunk / 127.5 - 1)


def test_it_leaves_a_clip_for_each_run_a_sheet_a_plan_and_a_record(folder: Path) -> None:
    trained = {"base-trained-word.mp4", "trained.mp4", *FILES}
    wanted = {f"{run.name}.mp4" for run in RUNS} | {"sheet.png", "plan.png", "stack.json"} | trained
    assert {path.name for path in folder.iterdir()} == wanted
    record = json.loads((folder / "stack.json").read_text())
    assert [lora["name"] for lora in record["loras"]] == ["speed_6steps", "zibbo_character", "neon_style"]


def test_a_lora_trained_on_the_spot_shows_what_the_base_does_not_know(folder: Path) -> None:
    assert _seen(folder, "base-trained-word").blorp < 0.2
    assert _seen(folder, "trained").blorp > 0.5


def test_six_fast_steps_show_what_the_prompt_says(folder: Path) -> None:
    seen = _seen(folder, "speed")
    assert (seen.colour, seen.motion) == ("yellow", "right")


def test_a_request_in_other_words_is_written_as_a_caption_that_the_model_knows(folder: Path) -> None:
    seen = _seen(folder, "refined")
    assert (seen.colour, seen.shape, seen.motion) == ("red", "circle", "up")


def test_the_style_makes_the_world_dark(folder: Path) -> None:
    assert _seen(folder, "base").neon < 0.1
    assert _seen(folder, "style").neon > 0.5


def test_only_with_its_lora_is_the_character_purple(folder: Path) -> None:
    assert _seen(folder, "base-character-word").colour != "purple"
    assert _seen(folder, "character").colour == "purple"


def test_only_with_its_lora_does_the_shape_orbit(folder: Path) -> None:
    assert _seen(folder, "base-motion-word").motion != "orbits"
    assert _seen(folder, "motion").motion == "orbits"


def test_a_long_clip_shows_what_the_prompt_says(folder: Path) -> None:
    assert len(read_video(folder / "longer.mp4")[0]) == 65
    assert _seen(folder, "longer").motion == "right"


def test_cosmos_goes_on_from_a_picture_and_orbits_with_its_lora(folder: Path) -> None:
    assert (_seen(folder, "cosmos").colour, _seen(folder, "cosmos").motion) == ("yellow", "right")
    assert (_seen(folder, "cosmos-motion").colour, _seen(folder, "cosmos-motion").motion) == ("blue", "orbits")


def test_the_stack_shows_the_character_with_its_eyes_in_the_style_after_six_steps(folder: Path) -> None:
    seen = _seen(folder, "stack")
    assert (seen.colour, seen.motion) == ("purple", "right")
    assert seen.zibbo > 0.5
    assert seen.neon > 0.5
    assert len(json.loads((folder / "stack.json").read_text())["plan"]["steps"]) == 6
