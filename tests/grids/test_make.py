"""Grids on the pocket model: cells that are what a run of their own makes, what is shared, and going on."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from lora_core.attention.wishes import RadialWishes
from lora_core.cli.main import cli
from lora_core.engine.generate import generate
from lora_core.engine.request import GenerationRequest
from lora_core.errors import LoraCoreError
from lora_core.families.wan.open import open_wan
from lora_core.grids.grid import Grid
from lora_core.grids.make import make_grid, plan_grid
from lora_core.grids.planned import Cost
from lora_core.media.video import read_video
from lora_core.stack.region import Region
from lora_core.stack.stack import LoraStack

ASKED = GenerationRequest(
    "a zibbo moves right on a plain background", num_frames=5, height=32, width=32, seed=3, num_steps=6
)
LOW, HIGH = "strength zibbo_character low = 0 | 0.8", "strength zibbo_character high = 0.5 | 1"


@pytest.fixture(scope="module")
def model():
    return open_wan("pocket")


@pytest.fixture(scope="module")
def stack():
    return LoraStack().add("speed_6steps").add("zibbo_character").add("neon_style", 0.4)


def grid_of(stack, columns=LOW, rows=None, **settings) -> Grid:
    return Grid(replace(ASKED, **settings), stack, columns, rows)


@pytest.fixture(scope="module")
def made(model, stack, tmp_path_factory):
    return make_grid(model, grid_of(stack, LOW, HIGH), tmp_path_factory.mktemp("grid"))


@pytest.mark.parametrize("solver", ["euler", "unipc", "lcm"])
@pytest.mark.parametrize(
    ("columns", "num_shared"),
    [
        ("schedule zibbo_character low = none | fade_out", 3),
        ("targets neon_style low = none | ffn=0", 3),
        ("file zibbo_character low = none | orbit_motion", 3),
        ("strength zibbo_character = 0 | 1", 0),
    ],
    ids=["schedule", "targets", "file", "tied strength"],
)
def test_every_cell_is_bit_for_bit_a_run_of_its_own(model, stack, tmp_path, solver, columns, num_shared):
    if solver != "euler" and not columns.startswith("schedule"):
        pytest.skip("sharing is the same for every axis, and tested with each solver for one")
    grid = grid_of(stack, columns, solver=solver)
    cells = make_grid(model, grid, tmp_path).cells
    assert [cell["steps_run"] for cell in cells] == [6, 6 - num_shared]
    for cell in cells:
        record = json.loads((tmp_path / cell["record"]).read_text())
        alone = generate(model, replace(ASKED, solver=solver), LoraStack.from_json(record["loras"]))
        assert alone.record["latents_sha256"] == cell["latents_sha256"]


def test_cells_of_a_row_that_acts_in_a_part_of_the_clip_are_runs_of_their_own_too(model, stack, tmp_path):
    placed = stack.replace("zibbo_character", replace(stack["zibbo_character"], region=Region.parse("left")))
    cells = make_grid(model, grid_of(placed), tmp_path).cells
    assert [cell["steps_run"] for cell in cells] == [6, 3]
    for cell, strength in zip(cells, (0, 0.8), strict=True):
        alone = generate(model, ASKED, placed.with_strength("zibbo_character", 1.0, strength))
        assert alone.record["latents_sha256"] == cell["latents_sha256"]


def test_an_axis_leaves_loras_out_one_by_one(model, stack, tmp_path):
    one_sided = stack.replace("neon_style", replace(stack["neon_style"], applies_to="low_noise"))
    cells = make_grid(model, grid_of(one_sided, "without = none | neon_style | zibbo_character"), tmp_path).cells
    assert [cell["steps_run"] for cell in cells] == [6, 3, 6]
    for cell, names in zip(
        cells, (("zibbo_character", "neon_style"), ("zibbo_character",), ("neon_style",)), strict=True
    ):
        left = LoraStack(entry for entry in one_sided if entry.name in ("speed_6steps", *names))
        assert generate(model, ASKED, left).record["latents_sha256"] == cell["latents_sha256"]


def test_a_low_noise_strength_is_what_a_user_would_write(model, stack, made):
    own = stack.with_strength("zibbo_character", 0.5, 0.8)
    assert generate(model, ASKED, own).record["latents_sha256"] == made.cells[1]["latents_sha256"]


def test_what_cells_share_is_counted_before_anything_is_made(model, stack):
    cost = plan_grid(model, grid_of(stack, LOW, HIGH))
    assert (cost.alone, cost.shared) == (
        {"high_noise": 12, "low_noise": 12},
        {"high_noise": 6, "low_noise": 12},
    )
    told = "4 cells to make: 6 high-noise and 12 low-noise steps, 75% of what they take one by one; 6 are shared"
    assert cost.text() == told


def test_the_sheet_has_every_cell_and_the_table_a_line_for_each(made):
    frames, _ = read_video(made.sheet)
    assert len(frames) == 5
    assert frames.shape[1] > 2 * 192
    assert made.picture.is_file()
    rows = list(csv.DictReader(made.table.read_text(encoding="utf-8").splitlines()))
    assert [(row["row_value"], row["column_value"]) for row in rows] == [
        ("0.5", "0"), ("0.5", "0.8"), ("1", "0"), ("1", "0.8"),
    ]  # fmt: skip
    assert [row["steps_run"] for row in rows] == ["6", "3", "6", "3"]
    assert float(rows[0]["similarity"]) == 1
    assert all(float(row["similarity"]) < 1 for row in rows[1:])
    assert {"motion", "flicker", "drift"} <= rows[0].keys()
    assert all((made.path / row["file"]).is_file() for row in rows)


def test_a_grid_that_was_stopped_goes_on_to_the_same_sheet(model, stack, made, tmp_path):
    asked = []

    def stop_in_the_third_cell() -> bool:
        asked.append(1)
        return len(asked) > 6 + 3 + 2

    stopped = make_grid(model, grid_of(stack, LOW, HIGH), tmp_path, should_stop=stop_in_the_third_cell)
    assert (stopped.is_over, len(stopped.cells)) == (False, 2)
    told: list[str] = []
    gone_on = make_grid(model, grid_of(stack, LOW, HIGH), tmp_path, tell=told.append)
    assert told[0].startswith("2 cells to make: 3 high-noise and 6 low-noise steps")
    assert gone_on.is_over
    assert [cell["latents_sha256"] for cell in gone_on.cells] == [cell["latents_sha256"] for cell in made.cells]
    for name in ("sheet.mp4", "sheet.png"):
        assert (tmp_path / name).read_bytes() == (made.path / name).read_bytes()


def test_a_grid_that_was_killed_goes_on_to_the_same_sheet(model, stack, made, tmp_path):
    """Killed where the third cell would be written, so that nothing of the program's own can clean up."""
    killed = f"""
import os, signal, torch
from lora_core import GenerationRequest, Grid, LoraStack, make_grid, open_wan
from lora_core.grids import make

real, written = make.save_video, []

def save_video(frames, path, *args, **options):
    written.append(path)
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(frames, path, *args, **options)

make.save_video = save_video
torch.set_num_threads({torch.get_num_threads()})  # another number of threads adds in another order
stack = LoraStack().add("speed_6steps").add("zibbo_character").add("neon_style", 0.4)
request = GenerationRequest({ASKED.prompt!r}, num_frames=5, height=32, width=32, seed=3, num_steps=6)
make_grid(open_wan("pocket"), Grid(request, stack, {LOW!r}, {HIGH!r}), {str(tmp_path)!r})
"""
    ended = subprocess.run([sys.executable, "-c", killed], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "sheet.mp4").exists()
    told: list[str] = []
    gone_on = make_grid(model, grid_of(stack, LOW, HIGH), tmp_path, tell=told.append)
    assert told[0].startswith("2 cells to make")
    assert gone_on.is_over
    for name in ("sheet.mp4", "sheet.png", *(cell["file"] for cell in made.cells)):
        assert (tmp_path / name).read_bytes() == (made.path / name).read_bytes()


def test_only_what_is_missing_or_has_changed_is_made(model, stack, made, tmp_path):
    folder = shutil.copytree(made.path, tmp_path / "grid")
    (folder / made.cells[2]["file"]).write_bytes(b"damaged")
    told: list[str] = []
    make_grid(model, grid_of(stack, "strength zibbo_character low = 0.3 | 0 | 0.8", HIGH), folder, tell=told.append)
    assert told[0].startswith("3 cells to make")
    told.clear()
    make_grid(model, grid_of(stack, LOW, HIGH), folder, tell=told.append)
    assert told == []


def test_the_recipe_has_the_line_that_makes_a_cell_again(made, tmp_path):
    cell = json.loads(made.recipe.read_text(encoding="utf-8"))["cells"][3]
    program, *words = shlex.split(cell["command"])
    ended = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert (program, ended.exit_code) == ("lora-core", 0), ended.output
    again = (made.path / cell["file"]).with_suffix(".again.mp4")
    record = json.loads(again.with_name(f"{again.name}.json").read_text())
    assert record["latents_sha256"] == cell["latents_sha256"]
    assert again.read_bytes() == (made.path / cell["file"]).read_bytes()


def test_the_line_that_makes_a_cell_again_says_how_attention_leaves_pairs_out(model, stack, tmp_path):
    grid = replace(grid_of(stack, "seed = 1 | 2", num_steps=4), radial=RadialWishes())
    cell = make_grid(model, grid, tmp_path).cells[0]
    ended = CliRunner().invoke(cli, shlex.split(cell["command"])[1:], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    again = (tmp_path / cell["file"]).with_suffix(".again.mp4.json")
    first, second = (json.loads(path.read_text()) for path in (tmp_path / cell["record"], again))
    assert first["radial"]["settings"] == second["radial"]["settings"]
    assert first["latents_sha256"] == second["latents_sha256"]


def test_steps_of_the_only_expert_are_just_steps():
    told = "2 cells to make: 12 steps"
    assert Cost(2, {"high_noise": 0, "low_noise": 12}, {"high_noise": 0, "low_noise": 12}).text() == told


#: The columns, the rows, and how the error begins.
MISTAKES = [
    ("strength zibo low = 0 | 1", None, "columns '0' stack: no LoRA is named 'zibo' (one of speed_6steps, "),
    ("strength sharp_quality high = 0 | 1", None, "columns '0' LoRA 'sharp_quality': it does not act on the expert"),
    ("schedule sharp_quality high = none | fade_in", None, "columns 'none' LoRA 'sharp_quality': it does not act on"),
    ("negative_prompt = a dog | a cat", None, "columns: 'a cat' makes the same clips as 'a dog': negative_prompt"),
    (
        "schedule zibbo_character high = none | hold:1=1,0.5=0",
        None,
        "columns: 'hold:1=1,0.5=0' makes the same clips as",
    ),
    ("seed = 1 | 2", "seed = 3 | 4", "rows: both axes are seed"),
    ("strength neon_style = 0 | 1", "strength neon_style low = 0 | 1", "rows: both axes are strength of neon_style"),
    ("steps = 6 | 0", None, "cell '0' steps: 0 steps"),
    ("file zibbo_character = none | nothing.safetensors", None, "cell 'nothing' nothing.safetensors: no such file"),
]


@pytest.mark.parametrize(("columns", "rows", "message"), MISTAKES)
def test_what_is_wrong_with_a_grid_is_said_before_a_network_runs(model, stack, columns, rows, message):
    with pytest.raises(LoraCoreError) as caught:
        plan_grid(model, grid_of(stack.add("sharp_quality"), columns, rows))
    assert str(caught.value).startswith(message)


def test_results_of_something_else_are_not_written_over(model, stack, tmp_path):
    (tmp_path / "sheet.png").write_bytes(b"a picture")
    with pytest.raises(LoraCoreError, match=r"holds sheet.png, and is no grid's. Choose another folder"):
        make_grid(model, grid_of(stack), tmp_path)
    assert (tmp_path / "sheet.png").read_bytes() == b"a picture"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "asked.toml: cannot be read: No such file"),
        ('prompt = "a', "asked.toml: is no TOML: "),
        ('prompt = "a"\ncolumns = "seed = 1"', "asked.toml columns axis: seed has 1 value"),
        ('prompt = "a"\ncolumns = "seed = 1 | 2"\nmodle = "pocket"', "asked.toml: unknown key 'modle' (nearest: "),
    ],
)
def test_what_is_wrong_with_a_file_is_said_of_that_file(tmp_path, text, message):
    path = tmp_path / "asked.toml"
    if text is not None:
        path.write_text(text)
    ended = CliRunner().invoke(cli, ["grid", str(path), "--dry-run"])
    assert str(ended.exception).startswith(message)


def test_what_is_wrong_without_a_file_begins_with_no_blank():
    ended = CliRunner().invoke(cli, ["grid", "-p", "a", "--columns", "seed = 1", "--dry-run"])
    assert str(ended.exception).startswith("columns axis: seed has 1 value")
    ended = CliRunner().invoke(cli, ["grid", "-p", "a", "--columns", "seed = 1 | 2", "--set", "foo=1", "--dry-run"])
    assert str(ended.exception).startswith("grid: unknown key 'foo'")


def test_an_option_that_an_axis_takes_other_values_of_is_refused():
    ended = CliRunner().invoke(cli, ["grid", "-p", "a", "--columns", "seed = 1 | 2", "--seed", "5", "--dry-run"])
    assert str(ended.exception) == "seed: would do nothing beside the columns, which are of it. Leave one out."


def test_more_cells_than_were_thought_of_are_refused(model, stack, tmp_path):
    with pytest.raises(LoraCoreError, match=r"grid: 4 cells \(at most 3 unless more are wanted\)"):
        make_grid(model, grid_of(stack, LOW, HIGH), tmp_path / "new", limit=3)
    assert not Path(tmp_path / "new").exists()


def test_rows_that_are_taken_apart_keep_what_they_are(model, stack):
    """Two axes on halves of one row act on what the other has left."""
    grid = grid_of(stack, "schedule zibbo_character low = none | fade_out", "strength zibbo_character = 0.5 | 0.7")
    assert plan_grid(model, grid).shared == {"high_noise": 6, "low_noise": 12}
