"""Radial attention in the shell: asked for in a word, counted before a run, and never left out quietly."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
LONG = ("plan", "--steps", 40, "--radial", "usual", "--frames", 161)


def test_plan_tells_what_it_leaves_and_where_it_does_not_pay(run: Run) -> None:
    code, out, _ = run(*LONG)
    assert code == 0
    assert out.splitlines()[-1] == (
        "radial attention: 31% of the pairs of 41 latent frames are kept, which leaves 43% of the run's arithmetic in "
        "self-attention and 61% of all of it"
    )
    short = run("plan", "--steps", 40, "--radial", "decay=1,first=2,last=1,blocks=2")[1]
    assert short.splitlines()[-1] == (
        "radial attention: it hardly pays below about 41 latent frames, twice the usual length"
    )
    code, out, _ = run(*LONG, "--size", "1280x720", "--json")
    assert code == 0
    assert json.loads(out)["radial"]["settings"]["dense"] == {"first_steps": 2, "last_steps": 1, "first_blocks": 2}
    assert (json.loads(out)["radial"]["density"], json.loads(out)["radial"]["cost"]) == (0.2692, 0.3728)


def test_generate_makes_a_long_clip_with_it_and_keeps_it_in_the_record(run: Run, tmp_path: Path) -> None:
    asked = ("generate", "-p", "a red circle moves right", "--steps", 3, "--frames", 33, "-o", tmp_path / "clip.gif")
    code, _, err = run(*asked, "--radial", "first=1,last=0,executor=masked", "--json", tmp_path / "record.json")
    assert code == 0
    assert "radial attention: " in err
    settings = json.loads((tmp_path / "record.json").read_text())["radial"]["settings"]
    assert (settings["executor"], settings["decay"]) == ("masked", 1.0)
    assert settings["dense"] == {"first_steps": 1, "last_steps": 0, "first_blocks": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "-p", "x", "--radial", "decoy=1"], "Error: --radial: unknown key 'decoy' (nearest: 'decay')."),
        (
            ["generate", "-p", "x", "--radial", "first=9"],
            "Error: first_steps: 9 is out of range (0 to 6). Choose a number in that range.",
        ),
        (
            ["generate", "-p", "x", "--radial", "usual", "--frames", "32"],
            "Error: num_frames: 32 is not 4 k + 1 (nearest: 29 or 33). Choose one of them.",
        ),
        (
            ["generate", "-p", "x", "--radial", "usual", "--frames", "8001"],
            "Error: num_frames: 8001 is out of range (1 to 4093).",
        ),
        (
            ["plan", "--steps", "3", "--radial", "usual", "--frames", "161"],
            "Error: radial attention: 2 first and 1 last steps of 3 stay dense, which leaves none. Take more steps",
        ),
        (
            ["plan", "--frames", "161"],
            "Error: --frames: a plan is the same for every clip but for what --radial comes to. Give --radial, or "
            "leave it out.",
        ),
        (["plan", "--radial", "usual", "--size", "64"], "Error: --size: '64' is no size (WIDTHxHEIGHT, such as"),
    ],
)
def test_a_bad_value_is_one_clear_error_before_anything_is_opened(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert message in err
