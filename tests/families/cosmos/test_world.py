"""Videos that go on from a picture or from the end of a video, as requests and in the shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from lora_core.cli.main import cli
from lora_core.engine.generate import generate
from lora_core.engine.record import request_from_record
from lora_core.engine.video_end import last_frames
from lora_core.engine.world import WorldRequest, world_notes
from lora_core.errors import LoraCoreError
from lora_core.families.cosmos.spec import cosmos_spec
from lora_core.media.video import read_video, save_video

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = ("--steps", "2", "--size", "32x32", "--frames", "9", "--cfg", "2")


def moving(num_frames: int, height: int = 40, width: int = 64) -> np.ndarray:
    """Return frames each of one colour of its own, in a colour that a codec keeps."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames[...] = np.linspace(30, 220, num_frames).astype(np.uint8)[:, None, None, None]
    return frames


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save_video(moving(90), folder / "long.mp4", 10)
    save_video(moving(3), folder / "short.mkv", 10)
    save_video(moving(6), folder / "frames", 10)
    (folder / "empty").mkdir()
    Image.fromarray(moving(1)[0]).save(folder / "picture.png")
    generator = torch.Generator().manual_seed(0)
    pairs = {"lora_A": (4, 48), "lora_B": (48, 4)}
    lora = {
        f"net.blocks.{block}.self_attn.{name}.{leaf}.default.weight": torch.randn(shape, generator=generator) / 4
        for block in range(2)
        for name in ("q_proj", "k_proj")
        for leaf, shape in pairs.items()
    }
    save_file(lora, folder / "lora.safetensors")
    return folder


# ---------------------------------------------------------------- the input


@pytest.mark.parametrize("count", [1, 5])
def test_the_last_frames_of_a_video_are_what_goes_on(inputs: Path, count: int) -> None:
    frames, _ = read_video(inputs / "long.mp4")
    found = [np.asarray(frame.picture()) for frame in last_frames(inputs / "long.mp4", count)]
    assert len(found) == count
    for ours, theirs in zip(found, frames[-count:], strict=True):
        assert abs(ours.astype(int) - theirs.astype(int)).max() <= 3  # two readers round colours differently


def test_a_folder_of_frames_goes_on_from_its_last_files(inputs: Path) -> None:
    assert [file.name for file in last_frames(inputs / "frames", 5)] == [f"frame_{i:05}.png" for i in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("picture.png", 5, "is one picture, and 5 frames to go on from are asked for (a video). Give a video, or"),
        ("short.mkv", 5, "has 3 frames, and 5 to go on from are asked for. Give a longer video, or"),
        ("empty", 1, "holds no pictures (.png, .jpg, .jpeg, .webp, .bmp). Choose a folder of frames."),
        ("none.mp4", 1, "there is no such picture or video. Check the path."),
        ("lora.safetensors", 1, "cannot be read as a video: "),
    ],
)
def test_an_input_that_cannot_go_on_is_one_error(inputs: Path, name: str, count: int, said: str) -> None:
    with pytest.raises(LoraCoreError) as error:
        last_frames(inputs / name, count)
    assert str(error.value).startswith(f"{inputs / name}: {said}")


# ---------------------------------------------------------------- the clip


def published(file: str, size: str = "2b"):
    """Return what a request asks of an opened 2B or 14B: its spec and the name of its file."""
    spec = cosmos_spec(f"cosmos-predict2-{size}-video2world")
    return SimpleNamespace(spec=spec, files={"high": Path("/models") / file})


@pytest.mark.parametrize(
    ("file", "asked", "clip"),
    [
        ("model.pt", {}, (704, 1280, 93, 16.0)),
        ("model.pt", {"resolution": 480, "fps": 10}, (432, 768, 61, 10.0)),
        ("model-480p-10fps.pt", {}, (432, 768, 61, 10.0)),
        ("cosmos_predict2_14B_video2world_720p_16fps.safetensors", {"aspect": "9:16"}, (1280, 704, 93, 16.0)),
        ("480p-16fps/transformer", {"num_frames": 33}, (432, 768, 33, 16.0)),
        ("model.pt", {"size": (512, 512), "fps": 10}, (512, 512, 61, 10.0)),
        ("model.pt", {"fps": 12, "num_frames": 49}, (704, 1280, 49, 12.0)),
    ],
)
def test_size_and_length_are_nvidias(inputs: Path, file: str, asked: dict, clip: tuple) -> None:
    request = WorldRequest(input=inputs / "picture.png", prompt="", **asked).on(published(file))
    assert (request.height, request.width, request.num_frames, request.fps) == clip
    assert (request.num_steps, request.cfg) == (35, 8.0)


@pytest.mark.parametrize(
    ("shape", "size"), [((10, 10), (480, 480)), ((40, 30), (640, 480)), ((30, 39), (480, 640)), ((5, 50), (432, 768))]
)
def test_the_proportions_are_the_nearest_to_the_inputs(tmp_path: Path, shape: tuple, size: tuple) -> None:
    Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(tmp_path / "a.png")
    request = WorldRequest(input=tmp_path / "a.png", prompt="", resolution=480).on(published("model.pt"))
    assert (request.height, request.width) == size
    assert request.clip(cosmos_spec("cosmos-predict2-2b-video2world")).first.size == size[::-1]


@pytest.mark.parametrize(
    ("file", "asked", "said"),
    [
        (
            "model-720p-16fps.pt",
            {"resolution": 480},
            "resolution: 480, and by its name model-720p-16fps.pt is made for 720. "
            "Take the weights for 480, or ask for 720.",
        ),
        ("model-720p-16fps.pt", {"fps": 10}, "fps: 10, and by its name model-720p-16fps.pt is made for 16."),
        ("model.pt", {"resolution": 512}, "resolution: no weights are made for 512 (480 or 720). Choose one of them"),
        ("model.pt", {"fps": 24}, "fps: no weights are made for 24 frames per second (10 or 16). Choose one of them"),
        ("model.pt", {"fps": float("nan")}, "fps: nan is not finite"),
        ("model.pt", {"aspect": "16:10"}, "aspect: '16:10' is none of its proportions (16:9, 4:3, 1:1, 3:4, 9:16)."),
        ("model.pt", {"aspect": "1:1", "size": (64, 64)}, "aspect: a size is given as well. Leave one of them out."),
        (
            "model.pt",
            {"num_conditional_frames": 3},
            "num_conditional_frames: 3 frames for Cosmos Predict2 2B Video2World to go on from (1 or 5). Give so many.",
        ),
    ],
)
def test_a_clip_that_the_weights_are_not_made_for_is_one_error(inputs: Path, file: str, asked: dict, said: str) -> None:
    with pytest.raises(LoraCoreError) as error:
        WorldRequest(input=inputs / "picture.png", prompt="", **asked).on(published(file))
    assert str(error.value).startswith(said)


def test_what_a_name_does_not_tell_is_said(model) -> None:
    (note,) = world_notes(published("model-480p.pt"))
    assert note == (
        "model-480p.pt: its name does not tell for which of 480 / 720 at 10 / 16 frames per second it is made; "
        "each has weights of its own"
    )
    assert world_notes(published("model-480p-10fps.pt")) == world_notes(model) == ()


def test_a_model_of_no_published_size_has_no_sizes_by_name(model, inputs: Path) -> None:
    with pytest.raises(LoraCoreError) as error:
        WorldRequest(input=inputs / "picture.png", prompt="", resolution=480).on(model)
    assert str(error.value).startswith(
        f"resolution: 480, and {model.spec.title} has no sizes of such names (its own is"
    )


# ---------------------------------------------------------------- the shell


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["video2world", *map(str, arguments)])


def fault(*arguments: object) -> str:
    """Return the one error that the command ends with."""
    ended = ran(*arguments)
    assert isinstance(ended.exception, LoraCoreError), ended.output
    return str(ended.exception)


def test_a_video_goes_on_from_five_frames_with_loras_counted_and_its_record_makes_it_again(
    model, folder: Path, inputs: Path, tmp_path: Path
) -> None:
    lora = f"{inputs / 'lora.safetensors'}:0.8"
    stated = ("--lora-rank", 4, "--lora-alpha", 8, "--lora-target-modules", "q_proj,k_proj")
    asked = ("--model", folder, "--input", inputs / "long.mp4", "--prompt", "a red circle", *SMALL)
    out = tmp_path / "on.mkv"
    ended = ran(*asked, "--num-conditional-frames", 5, "--lora", lora, *stated, "-o", out, "--refiner", "tr r R")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"{out}: 9 frames, 2 steps, {ended.stdout.split()[-2]} s\n"
    for line in ("1,536 in the LoRA", "alpha          8 (as stated)", "refiner: the prompt is now 'a Red ciRcle'"):
        assert line in ended.stderr
    assert "guardrail: none ran, " in ended.stderr
    record = json.loads((tmp_path / "on.mkv.json").read_text())
    assert record["guardrail"]["licence"] == "NVIDIA Open Model License"
    assert [row["frame"] for row in record["request"]["first_frames"]] == [-5, -4, -3, -2, -1]
    again = generate(model, request_from_record(record))
    assert again.record["latents_sha256"] != record["latents_sha256"]  # the LoRA acts
    without = ran(*asked, "--num-conditional-frames", 5, "-o", tmp_path / "off.mkv", "--refiner", "tr r R")
    assert without.exit_code == 0
    assert json.loads((tmp_path / "off.mkv.json").read_text())["latents_sha256"] == again.record["latents_sha256"]


def test_what_is_wrong_is_one_error_before_a_network_runs(folder: Path, inputs: Path, tmp_path: Path) -> None:
    asked = ("--model", folder, "--prompt", "a", *SMALL, "-o", tmp_path / "a.mp4")
    picture = ("--input", inputs / "picture.png")
    lora = ("--lora", inputs / "lora.safetensors")
    wrapped = tmp_path / "iter_000000100.pt"
    state = {"net.blocks.0.adaln_modulation_self_attn.1.weight": torch.zeros(8, 48)}
    state |= {f"net.blocks.0.self_attn.q_proj.{leaf}.weight": torch.zeros(48, 48) for leaf in ("base_layer",)}
    state |= {f"net.blocks.0.self_attn.q_proj.lora_{x}.default.weight": torch.zeros(48, 48) for x in "AB"}
    torch.save(state, wrapped)
    for arguments, said in (
        ((*asked, *picture, "--num-conditional-frames", 5), "is one picture, and 5 frames to go on from"),
        (asked, "--input: there is none. Give --input, or --batch-input-json."),
        ((*asked, *picture, *lora, "--lora-rank", 8), "its rank is 4, and rank 8 was stated"),
        ((*asked, *picture, *lora, "--lora-target-modules", "q_proj,nope"), "nope"),
        ((*asked, *picture, "--lora-rank", 8), "stated LoRA: there is no LoRA to hold it against."),
        ((*asked, *picture, "--lora", "neon_style"), "Wan"),
        ((*asked, *picture, "--guardrail"), "guardrail: cosmos-guardrail is not installed. Install it with `pip"),
        ((*asked, *picture, "--refiner", "no-such-thing"), "refiner: there is no command 'no-such-thing'"),
        (("--model", wrapped, *asked[2:], *picture), "is a checkpoint with a LoRA inside"),
    ):
        assert said in fault(*arguments), arguments
    assert list(tmp_path.iterdir()) == [wrapped]


def test_a_list_is_made_as_nvidia_writes_it_and_not_twice(folder: Path, inputs: Path, tmp_path: Path) -> None:
    lora = str(inputs / "lora.safetensors")
    rows = [
        {"input_video": str(inputs / "picture.png"), "prompt": "a red circle", "output_video": "one.mp4"},
        {"input_video": str(inputs / "picture.png"), "prompt": "blue", "loras": [{"path": lora, "weight": 0.5}]},
        {"input_video": str(inputs / "long.mp4"), "prompt": "up", "num_conditional_frames": 5, "seed": 4, "steps": 1},
        {"input_video": str(inputs / "picture.png"), "prompt": "up", "num_conditional_frames": 5},
        {"prompt": "a red circle"},
        {"input_video": "none.mp4", "prompt": "up"},
        {"input_video": str(inputs / "picture.png"), "prompt": "up", "guidance": 7},
        {"input_video": str(inputs / "picture.png"), "prompt": "up", "output_video": "one.mp4"},
        {"input_video": str(inputs / "picture.png"), "prompt": "up", "loras": ["neon_style"]},
    ]
    jobs, out = tmp_path / "jobs.json", tmp_path / "out"
    jobs.write_text(json.dumps(rows))
    asked = ("--model", folder, *SMALL, "--batch-input-json", jobs, "-o", out, "--no-guardrail")
    ended = ran(*asked, "--refiner", "tr a-z A-Z")
    assert (ended.exit_code, ended.stdout) == (1, "3 of 9 jobs done by 1 worker, 6 failed\n"), ended.output
    errors = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    for number, said in (
        (4, "is one picture, and 5 frames to go on from"),
        (5, "input_video: there is none"),
        (6, "there is no such picture or video"),
        (7, "unknown key 'guidance'"),
        (8, "job 1 writes to"),
        (9, "Wan"),
    ):
        assert any(line.startswith(f"Error: job {number}") and said in line for line in errors), (number, errors)
    assert sorted(file.name for file in out.glob("*.mp4")) == ["one.mp4", "output_1.mp4", "output_2.mp4"]
    records = {file.name: json.loads(file.read_text()) for file in out.glob("*.json")}
    assert records["output_1.mp4.json"]["loras"][0]["weight"] == 0.5
    assert records["one.mp4.json"]["loras"] == []
    assert records["output_2.mp4.json"]["request"]["num_steps"] == 1
    assert records["one.mp4.json"]["guardrail"]["why"] == "turned off with --no-guardrail"
    assert records["one.mp4.json"]["request"]["prompt"] == "A RED CIRCLE"
    jobs.write_text(json.dumps(rows[:3]))
    again = ran(*asked, "--refiner", "tr a-z A-Z")
    assert (again.exit_code, again.stdout) == (0, "0 of 3 jobs done by 0 workers, 3 done before\n")
    rows[1]["loras"][0]["weight"] = 0.6
    shutil.copy(out / "one.mp4", out / "output_2.mp4")
    jobs.write_text(json.dumps(rows[:3]))
    assert ran(*asked, "--refiner", "tr a-z A-Z").stdout == "2 of 3 jobs done by 1 worker, 1 done before\n"


def test_a_list_and_one_video_are_not_asked_for_together(folder: Path, inputs: Path) -> None:
    said = fault("--model", folder, "--batch-input-json", "jobs.json", "--input", inputs / "picture.png")
    assert said == "--input: each job of a list has its own. Leave it out."


def test_outputs_without_a_name_go_where_the_program_runs(
    folder: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.json").write_text(json.dumps([{"input_video": str(inputs / "frames"), "prompt": "up"}]))
    asked = ("--model", folder, "--steps", 1, "--cfg", 1, "--size", "32x32", "--frames", 5)
    assert ran(*asked, "--batch-input-json", "jobs.json").exit_code == 0
    assert ran(*asked, "--input", inputs / "frames", "-p", "up").exit_code == 0
    names = {"video.mp4", "output_0.mp4"}
    assert {file.name for file in tmp_path.iterdir()} == {"jobs.json", *names, *(f"{name}.json" for name in names)}
    records = [json.loads(Path(f"{name}.json").read_text()) for name in names]
    assert records[0]["latents_sha256"] == records[1]["latents_sha256"]
