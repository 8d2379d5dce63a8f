"""The command line, run as a user runs it: arguments in, exit code and text out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import tiny_loras
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lora_core import read_video
from lora_core.checkpoints.checkpoint import Checkpoint
from lora_core.cli.lora_option import parse_lora
from lora_core.errors import StackError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Write a LoRA pair for the tiny model; return the high-noise file."""
    tiny_loras.save_lora(tmp_path / "style_low_noise.safetensors", seed=2)
    return tiny_loras.save_lora(tmp_path / "style_high_noise.safetensors", seed=1)


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("generate", "inspect", "convert", "plan", "stack", "demo"))


def test_plan_shows_three_high_and_three_low_steps_and_draws_them(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("plan", "--plot", tmp_path / "plan.png")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines() if line.lstrip()[:1].isdigit()] == ["high"] * 3 + ["low"] * 3
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_reports_json_that_a_program_can_read(run: Run, pair: Path) -> None:
    code, out, _ = run("inspect", pair, "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["expert"], report["num_targets"]) == ("high_noise", 3)
    assert report["account"]["counts"]["applied"] == 6


def test_inspect_draws_the_size_of_the_change(run: Run, pair: Path, tmp_path: Path) -> None:
    assert run("inspect", pair, "--plot", tmp_path / "sizes.png")[0] == 0
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_ends_with_1_when_a_file_does_not_fit_the_model(run: Run, pair: Path) -> None:
    code, out, _ = run("inspect", pair, "--model", "wan2.2-t2v-a14b")
    assert code == 1
    assert "refused" in out


def test_convert_writes_another_dialect_and_does_not_overwrite_unasked(run: Run, pair: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted_high_noise.safetensors"
    assert run("convert", pair, target, "--to", "kohya")[0] == 0
    assert json.loads(run("inspect", target, "--json")[1])["dialect"] == "kohya"
    code, _, err = run("convert", pair, target)
    assert code == 1
    assert err == f"Error: {target}: exists already. Choose another name, or pass --force.\n"


def test_stack_check_accounts_for_every_lora_and_refuses_a_changed_one(run: Run, pair: Path, tmp_path: Path) -> None:
    preset = tmp_path / "preset.json"
    files = tiny.save_files(tmp_path)
    assert run("stack", "pin", "--lora", f"{pair}:0.7", "-o", preset)[0] == 0
    code, out, _ = run("stack", "check", preset, "--model", files.high)
    assert (code, out.count("6 tensors: 6 applied")) == (0, 2)
    tiny_loras.save_lora(pair, seed=9)
    code, _, err = run("stack", "check", preset, "--model", files.high)
    assert code == 1
    assert "a LoRA has changed" in err


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """Write a LoRA for the tiny model of which two tensors match nothing."""
    (tmp_path / "partial").mkdir()
    path = tiny_loras.save_lora(tmp_path / "partial" / "other.safetensors")
    stray = {f"blocks.0.self_attn.qq.lora_{leaf}.weight": torch.ones(2, 2) for leaf in "AB"}
    save_file({**load_file(path), **stray}, path)
    return path


@pytest.mark.parametrize("verb", ["plan", "stack check", "generate"])
def test_every_verb_that_reads_loras_can_let_a_partial_one_through(
    verb: str, run: Run, partial: Path, tmp_path: Path
) -> None:
    files, stack = tiny.save_files(tmp_path), tmp_path / "stack.json"
    stack.write_text(json.dumps([{"path": str(partial)}]))
    arguments = {
        "plan": ["plan", "--lora", partial, "--model", files.high],
        "stack check": ["stack", "check", stack, "--model", files.high],
        "generate": [
            *("generate", "-p", "a", "--lora", partial, "--model", files.high, "--vae", files.vae, "--device", "cpu"),
            *("--text-encoder", files.text_encoder, "--tokenizer", files.tokenizer, "--frames", 5, "--size", "32x16"),
            *("--steps", 2, "-o", tmp_path / "clip.gif"),
        ],
    }[verb]
    code, out, err = run(*arguments)
    assert code == 1
    assert "Switch allow_partial on to apply the others" in out + err
    code, out, err = run(*arguments, "--allow-partial")
    assert code == 0, err
    said = " ".join((out + err).split())
    assert "2 unmatched" in said or "2 of its 8 tensors were left out, the first being blocks.0.self_attn.qq" in said


def test_generate_makes_a_video_and_a_record(run: Run, pair: Path, tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    model = ["--model", files.high, "--vae", files.vae, "--text-encoder", files.text_encoder]
    model += ["--tokenizer", files.tokenizer, "--device", "cpu"]
    out, record = tmp_path / "made" / "clip.gif", tmp_path / "new" / "record.json"
    arguments = ["--lora", f"{pair}:0.5", "--frames", 5, "--size", "32x16", "--seed", 3, "-o", out, "--json", record]
    code, said, _ = run("--quiet", "generate", "-p", "a red circle", *model, *arguments)
    assert code == 0
    assert said.startswith(f"{out}: 5 frames, 6 steps")
    assert read_video(out)[0].shape == (5, 16, 32, 3)
    assert json.loads(record.read_text())["request"]["seed"] == 3
    code, printed, said = run("generate", "-p", "a red circle", *model, *arguments[:-1], "/dev/stdout")
    assert (code, json.loads(printed)["request"]["seed"]) == (0, 3)
    assert f"{out}: 5 frames" in said


def test_generate_says_what_it_does_unless_it_is_to_be_quiet(run: Run, tmp_path: Path) -> None:
    asked = ("generate", "-p", "a zibo moves right", "--steps", 2, "--frames", 5, "-o", tmp_path / "clip.gif")
    code, out, err = run(*asked, "--lora", "zibbo_character")
    assert code == 0
    said = ["opening pocket", "encoding the prompt", "sampling", "decoding the video", f"writing {tmp_path}/clip.gif"]
    places = [err.index(line) for line in said]
    assert places == sorted(places)
    assert "prompt: the text encoder does not know 'zibo'\n" in err
    assert "prompt: it lacks the trigger word 'zibbo' of LoRA 'zibbo_character'\n" in err
    assert "encoding the picture" not in err
    assert out.count("\n") == 1
    assert run("--quiet", *asked)[2] == ""


def test_generate_takes_the_image_encoder_of_wan_2_1(run: Run, tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    expert = tiny.save_native(tiny.image_transformer(), tmp_path / "i2v.safetensors")
    encoder = tiny.save_image_encoder(tiny.image_encoder(), tmp_path / "clip_vision.safetensors")
    Image.new("RGB", (32, 16), "red").save(tmp_path / "first.png")
    model = ["--model", expert, "--vae", files.vae, "--text-encoder", files.text_encoder, "--device", "cpu"]
    arguments = ["--image", tmp_path / "first.png", "--frames", 5, "--steps", 2, "-o", tmp_path / "clip.gif"]
    asked = ("--quiet", "generate", "-p", "a red circle", *model, *arguments, "--size", "32x16")
    code, _, err = run(*asked)
    assert (code, "Pass its path as image_encoder" in err) == (1, True)
    assert run(*asked, "--image-encoder", encoder)[0] == 0
    assert read_video(tmp_path / "clip.gif")[0].shape == (5, 16, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--steps", "0"], "Error: steps: 0 steps (1 to 10000). Choose a number in that range.\n"),
        (["plan", "--boundary", "1.5"], "Error: boundary: 1.5 is outside (0, 1) (a sigma such as 0.875)."),
        (
            ["plan", "--cfg", "1,2,3"],
            "Error: --cfg: '1,2,3' has 3 numbers (one, or HIGH,LOW). Give at most one for each expert.\n",
        ),
        (["plan", "--lora", "neon_styl"], "Error: neon_styl: no such file in "),
        (
            ["plan", "--lora", "x:nan"],
            "Error: --lora x:nan: strength: nan is not finite (a finite real number). Give a finite number.\n",
        ),
        (
            ["plan", "--steps", "6", "--sigmas", "1, 0.5, 0"],
            "Error: --steps: 6 would do nothing beside --sigmas, which are all the noise levels there are. Give one",
        ),
        (["plan", "--sigmas", "1, 0.5, 0", "--shift", "8"], "Error: --shift: 8 would do nothing beside --sigmas, "),
        (["plan", "--no-verify"], "Error: --no-verify: there is no --stack to verify. Leave it out.\n"),
        (["inspect", "owner/name"], "Error: owner/name: no such file, and the local Hugging Face cache has no such "),
        (["inspect", "https://civitai.com/x"], "Error: https://civitai.com/x: is an address, not a file "),
        (["inspect", "missing.safetensors"], "Error: missing.safetensors: there is no such file. "),
        (["generate", "-p", "x", "-o", "clip.avi"], "Error: clip.avi: cannot write a video as '.avi' "),
        (
            ["generate", "-p", "x", "--size", "64"],
            "Error: --size: '64' is no size (WIDTHxHEIGHT, such as 832x480). "
            "Give both in pixels, with an x between them.\n",
        ),
        (
            ["generate", "-p", "x", "--solver", "eular"],
            "Error: solver: unknown value 'eular' (nearest: 'euler'). Choose one that there is.\n",
        ),
        (
            ["generate", "-p", "x", "--size", "1000000x1000000"],
            "Error: height: 1000000 is out of range (16 to 16384). Choose a number in that range.\n",
        ),
        (
            ["generate", "-p", "x", "--frames", "1000001"],
            "Error: num_frames: 1000001 is out of range (1 to 4093). Choose a number in that range.\n",
        ),
        (["generate", "-p", "x", "--device", "meta"], "Error: device: 'meta' cannot be used: "),
        (
            ["generate", "-p", "x", "--fps", "1e30"],
            "Error: fps: cannot play 1e+30 frames per second (0.01 to 240). Choose a number in that range.\n",
        ),
        (["generate", "-p", "x", "--json", "/dev/full"], "Error: /dev/full: a device has this name (a file, or a new"),
        (["generate", "-p", "x", "--json", "video.mp4"], "Error: video.mp4: its place is taken by the video video.mp4"),
        (
            ["generate", "-p", "x", "-o", "f", "--json", "f/a.json"],
            "Error: f/a.json: its place is taken by the video f",
        ),
        (["generate", "-p", "x", "-o", f"{'x' * 300}.mp4"], f"Error: {'x' * 60}…: a name of 304 bytes (at most 255)."),
        (["demo", "-o", "/dev/null"], "Error: /dev/null/base.mp4: /dev/null is a file (a folder to write into)."),
        (["plan", "--plot", "plan.jpg"], "Error: plan.jpg: unknown picture format '.jpg' "),
        (["plan", "--plot", "/dev/null"], "Error: /dev/null: unknown picture format '' "),
        (["inspect", "a.safetensors", "--plot", "a.jpg"], "Error: a.jpg: unknown picture format '.jpg' "),
        (["convert", "a.safetensors", "/dev/full"], "Error: /dev/full: a device has this name "),
        (["stack", "pin", "-o", "/dev/full"], "Error: /dev/full: a device has this name "),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(
    run: Run, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Checkpoint, "tensors", lambda self: pytest.fail("a network was read first"))
    code, out, err = run("--quiet", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_json_goes_to_the_standard_output_where_it_is_asked_for(run: Run, pair: Path) -> None:
    code, out, _ = run("stack", "pin", "--lora", pair, "-o", "-")
    assert (code, json.loads(out)[0]["name"]) == (0, "style_high_noise")


def test_wrong_usage_ends_with_2(run: Run) -> None:
    assert run("generate")[0] == 2
    assert run("paint")[0] == 2


def test_ctrl_c_ends_with_130_and_says_that_nothing_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lora_core.plan.planning.make_plan", interrupt)
    code, _, err = run("plan")
    assert code == 130
    assert err.strip() == "Interrupted; nothing half-written is left behind."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors", ("a.safetensors", 1.0, "auto")),
        ("a.safetensors:0.8", ("a.safetensors", 0.8, "auto")),
        ("a.safetensors:-1:low_noise", ("a.safetensors", -1.0, "low_noise")),
        ("a.safetensors:both", ("a.safetensors", 1.0, "both")),
        ("x:0.5", ("x", 0.5, "auto")),
        (r"C:a.safetensors", (r"C:a.safetensors", 1.0, "auto")),
        (r"C:\loras\a.safetensors", (r"C:\loras\a.safetensors", 1.0, "auto")),
        (r"C:\loras\a.safetensors:2", (r"C:\loras\a.safetensors", 2.0, "auto")),
        ("style:v2.safetensors", ("style:v2.safetensors", 1.0, "auto")),
        ("style:v2.safetensors:0.5:both", ("style:v2.safetensors", 0.5, "both")),
        ("owner/name", ("owner/name", 1.0, "auto")),
        ("owner/name:0.8:high_noise", ("owner/name", 0.8, "high_noise")),
        ("owner/name:x.safetensors:0.8", ("owner/name:x.safetensors", 0.8, "auto")),
    ],
)
def test_a_lora_option_is_taken_apart_from_its_end(text: str, expected: tuple[str, float, str]) -> None:
    assert parse_lora(text) == expected


@pytest.mark.parametrize("text", ["a.safetensors:hihg", "a.safetensors:0.8:low", "a.safetensors:strong1"])
def test_a_lora_option_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="--lora"):
        parse_lora(text)


def test_colons_in_the_name_of_a_file_stay_with_it_where_the_file_is_there() -> None:
    present = {"take:2", "take:2:0.5"}
    assert parse_lora("take:2", present.__contains__) == ("take:2", 1.0, "auto")
    assert parse_lora("take:2:0.5", present.__contains__) == ("take:2:0.5", 1.0, "auto")
    assert parse_lora("take:2:0.8:both", present.__contains__) == ("take:2", 0.8, "both")
    assert parse_lora("take:2") == ("take", 2.0, "auto")


def test_a_mistyped_embedded_lora_is_told_its_name(run: Run) -> None:
    _, _, err = run("plan", "--lora", "neon_styl")
    assert err.endswith("(nearest: 'neon_style'). Name a file that is there.\n")


def test_a_lora_given_twice_is_named_alike_by_shell_and_stack_file(run: Run, pair: Path, tmp_path: Path) -> None:
    files = tiny.save_files(tmp_path)
    (tmp_path / "stack.json").write_text(json.dumps([{"path": str(pair)}, {"path": str(pair), "weight": 0.5}]))
    one_by_one = ["--lora", pair, "--lora", f"{pair}:0.5"]
    plans = [
        json.loads(run("plan", "--model", files.high, "--json", *arguments)[1])
        for arguments in (one_by_one, ["--stack", tmp_path / "stack.json"])
    ]
    assert plans[0] == plans[1]
    assert "style_high_noise 2" in json.dumps(plans[0])
