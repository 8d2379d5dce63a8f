"""The command `transfer`: a file and a report come out, clips judge, and what makes no sense is refused."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lora_core import read_lora
from lora_core.cli.main import cli
from lora_core.errors import LoraCoreError
from lora_core.pocket import world

HIGH, LOW = "pocket:high_noise", "pocket:low_noise"


def run(*arguments, ok=True):
    done = CliRunner().invoke(cli, ["transfer", *map(str, arguments)], catch_exceptions=True)
    assert (done.exit_code == 0) is ok, done.output
    return done


def refused(*arguments):
    done = run(*arguments, ok=False)
    assert isinstance(done.exception, LoraCoreError), done.exception
    return str(done.exception)


def test_a_lora_goes_from_one_expert_to_the_other_with_a_report(tmp_path: Path):
    out, report = tmp_path / "low.safetensors", tmp_path / "report.json"
    done = run("neon_style", "--from", HIGH, "--to", LOW, "-o", out, "--report", report)
    lines = done.stdout.splitlines()
    assert lines[0] == str(out)
    assert lines[1].startswith("used: ")
    assert any(line.startswith("strength to begin with: ") for line in lines)
    told = json.loads(report.read_text())
    assert len(told["layers"]) == told["num_used"]
    assert 0 < told["layers"][0]["alike"] <= 1
    weights = read_lora(out)
    assert weights.expert == "low_noise"
    assert "layers" in done.stderr
    assert "exists already" in refused("neon_style", "--from", HIGH, "--to", LOW, "-o", out)


def test_a_lora_of_a_rounded_base_is_mended(tmp_path: Path):
    out = tmp_path / "mended.safetensors"
    done = run("neon_style", "--from-quantized", "fp8", "--to", HIGH, "-o", out)
    assert "corrected" in done.stdout
    assert read_lora(out).metadata["corrected_from"] == "fp8"


def draw(folder: Path, num_clips: int = 5) -> Path:
    import imageio.v2 as imageio
    import numpy as np

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(num_clips):
        scene = world.random_scene(rng, neon=True)
        frames = ((world.draw(scene) + 1) * 127.5).round().clip(0, 255).astype("uint8")
        imageio.mimwrite(folder / f"{i}.mp4", list(frames), fps=16, macro_block_size=1, quality=9)
        (folder / f"{i}.txt").write_text(world.caption(scene))
    return folder


def test_clips_say_whether_the_lora_helps_and_whether_to_project(tmp_path: Path):
    clips = draw(tmp_path / "clips")
    out = tmp_path / "low.safetensors"
    done = run("neon_style", "--from", HIGH, "--to", LOW, "-o", out, "--project", "--clips", clips)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("held-out loss:")]
    without, with_lora = (float(word) for word in line.replace(",", " ").split()[2:5:2])
    assert with_lora < without  # neon helps on neon clips, from the other expert too
    assert "held-out loss with the projection" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "transfer: there is no --from"),
        (("--from", HIGH, "--from-quantized", "nf4"), "transfer: both --from and --from-quantized are given"),
        (("--from-quantized", "nf4", "--project"), "--project: would do nothing with --from-quantized"),
        (("--from", HIGH, "--vae", "x"), "--vae: would do nothing without --clips"),
        (("--from", "nowhere.safetensors"), "nowhere.safetensors: no such file or folder"),
        (("--from", "pocket:nope"), "pocket:nope: there is no expert 'nope' (high_noise or low_noise). Name one."),
        (("--from-quantized", "nf5"), "rounding: unknown value 'nf5'"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments, error):
    assert error in refused("neon_style", "--to", LOW, "-o", tmp_path / "out.safetensors", *arguments)
    assert not list(tmp_path.iterdir())
