"""A list of jobs in this process: checked first, each made as `generate` makes it, none made twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doers import CountedOpening

from lora_core.cli.main import cli
from lora_core.engine.generate import generate
from lora_core.engine.record import request_from_record, stack_from_record
from lora_core.errors import RequestError
from lora_core.families.registry import opener
from lora_core.jobs.ended import Done, Event, Fault, Kept
from lora_core.jobs.maker import HowToMake
from lora_core.jobs.read import read_jobs
from lora_core.jobs.run import run_jobs

SMALL = {"steps": 2, "frames": 5, "size": "32x32"}
CIRCLE = {"prompt": "a red circle moves up on a plain background", "loras": ["speed_6steps"]}
ZIBBO = {
    "prompt": "a zibbo moves right on a plain background",
    "loras": [{"path": "speed_6steps"}, {"path": "zibbo_character", "weight": 0.8, "schedule": "fade_out"}],
    "output": "frames/zibbo",
}
BAD: list[tuple[dict[str, Any], str]] = [
    ({**CIRCLE, "loras": ["speed_5steps"]}, r"job 3 speed_5steps: no such file in .*nearest: 'speed_6steps'"),
    ({**CIRCLE, "size": "30x32"}, r"job 4 width: 30 is not a multiple of 16"),
    ({**CIRCLE, "stpes": 3}, r"job 5: unknown key 'stpes' \(nearest: 'steps'\)\. Correct or remove it\."),
    ({"seed": 3}, r"job 6 prompt: there is none \(a text, perhaps empty\)\. Write one\."),
    ({**CIRCLE, "output": "frames/zibbo"}, r"job 7 output: job 2 writes to .* too\. Give each job a name of its own\."),
    ({**CIRCLE, "output": "x.avi"}, r"job 8 .*x\.avi"),
    ({**CIRCLE, "seed": -1}, r"job 9 seed: -1 is out of range"),
    ({**CIRCLE, "image": "none.png"}, r"job 10 image: .* makes video from text alone"),
]


@pytest.fixture
def jobs_file(tmp_path: Path) -> Path:
    return written(tmp_path, [CIRCLE, ZIBBO, *(row for row, _ in BAD)])


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "jobs.json").write_text(json.dumps({"defaults": SMALL, "jobs": rows}))
    (folder / "opened").mkdir(exist_ok=True)
    return folder / "jobs.json"


def ran(jobs_file: Path) -> list[Event]:
    folder = jobs_file.parent
    return list(run_jobs(read_jobs(jobs_file, folder / "out"), HowToMake(CountedOpening(folder / "opened"))))


def numbers(events: list[Event], kind: type) -> list[int]:
    return [event.number for event in events if isinstance(event, kind)]


def test_bad_jobs_are_named_before_the_others_are_made_with_one_model_and_loras_of_their_own(jobs_file: Path) -> None:
    events, out = ran(jobs_file), jobs_file.parent / "out"
    faults = {event.number: str(event.error) for event in events if isinstance(event, Fault)}
    for number, (_, said) in enumerate(BAD, 3):
        assert re.match(said, faults[number]), faults[number]
    assert [type(event) for event in events[-2:]] == [Done, Done]
    assert numbers(events, Done) == [1, 2]
    assert len(list((jobs_file.parent / "opened").iterdir())) == 1
    for name in ("001.mp4", "frames/zibbo"):
        record = json.loads((out / f"{name}.json").read_text())
        alone = generate(opener("pocket")("pocket"), request_from_record(record), stack_from_record(record))
        assert alone.record["latents_sha256"] == record["latents_sha256"]
    assert len(list((out / "frames/zibbo").glob("*.png"))) == 5


def test_a_job_is_made_again_only_if_it_is_not_there_as_it_is_asked_for(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "a red circle", "steps": 1, "seed": seed} for seed in range(5)]
    rows[4] |= {"steps": 2, "loras": ["speed_6steps"], "output": "frames/last"}
    out = tmp_path / "out"
    assert numbers(ran(written(tmp_path, rows)), Done) == [1, 2, 3, 4, 5]
    rows[0]["seed"] = 11
    (out / "002.mp4").write_bytes(b"another")
    (out / "003.mp4.json").unlink()
    events = ran(written(tmp_path, rows))
    assert (numbers(events, Done), numbers(events, Kept)) == ([1, 2, 3], [4, 5])
    rows[3]["scale"] = 2
    rows[4]["loras"] = [{"path": "speed_6steps", "weight": 0.9}]
    events = ran(written(tmp_path, rows))
    assert (numbers(events, Done), numbers(events, Kept)) == ([4, 5], [1, 2, 3])
    next((out / "frames/last").glob("*.png")).unlink()
    events = ran(written(tmp_path, rows))
    assert (numbers(events, Done), numbers(events, Kept)) == ([5], [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not JSON"),
        ("[]", "there is no job"),
        ('{"jobs": [{}], "default": {}}', "unknown key 'default' (nearest: 'defaults')"),
        ('{"jobs": [{}], "defaults": {"output": "a.mp4"}}', "defaults: all jobs would write to one output"),
        ('{"jobs": [{}], "defaults": {"sed": 1}}', "defaults: unknown key 'sed' (nearest: 'seed')"),
        ('"a.json"', "no list of jobs"),
    ],
)
def test_a_file_that_is_no_list_of_jobs_is_one_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "jobs.json").write_text(text)
    with pytest.raises(RequestError) as error:
        read_jobs(tmp_path / "jobs.json")
    assert str(error.value).startswith(f"{tmp_path / 'jobs.json'}")
    assert said in str(error.value)


def test_noise_levels_of_a_jobs_own_stand_in_the_place_of_default_steps(tmp_path: Path) -> None:
    jobs = read_jobs(written(tmp_path, [{**CIRCLE, "sigmas": "1, 0.5, 0"}]))
    assert jobs.faults == ()
    assert jobs.items[0].request.levels() == (1, 0.5, 0)


def test_several_workers_without_ray_are_one_error_with_the_line_that_installs_it(
    jobs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(RequestError) as error:
        list(run_jobs(read_jobs(jobs_file), HowToMake(CountedOpening(jobs_file.parent / "opened")), num_workers=2))
    assert str(error.value) == (
        "--workers: several workers need Ray, which is not installed. "
        'Install it with `pip install "wanloom[ray]"`, or leave --workers at 1.'
    )
    assert list((jobs_file.parent / "opened").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--comfyui", "http://127.0.0.1:1"], "--comfyui: there is no --workflow beside it. Give --workflow too."),
        (["--workflow", "w.json"], "--workflow: there is no --comfyui beside it. Give --comfyui too."),
        (["--comfyui", "127.0.0.1:1", "--workflow", "w.json"], "--comfyui: '127.0.0.1:1' is no address "),
        (["--comfyui", "http://a,http://a/", "--workflow", "w.json"], "--comfyui: http://a is given twice."),
        (["--comfyui", "http://a", "--workflow", "w.json"], "w.json: cannot be read: No such file or directory "),
        (
            ["--comfyui", "http://a", "--workflow", "w.json", "--workers", "2"],
            "--workers: it would do nothing with --comfyui, where the workflow says it. Leave it out.",
        ),
        (["--workers", "0"], "--workers: 0 is out of range (1 to 4096)."),
    ],
)
def test_options_that_do_not_go_together_are_one_error(jobs_file: Path, arguments: list[str], said: str) -> None:
    ended = CliRunner().invoke(cli, ["batch", str(jobs_file), *arguments])
    assert isinstance(ended.exception, RequestError)
    assert str(ended.exception).startswith(said)


def test_the_command_names_what_failed_and_ends_with_1(tmp_path: Path) -> None:
    file = written(tmp_path, [CIRCLE, {**CIRCLE, "seed": "two", "output": "two.mp4"}])
    first = CliRunner().invoke(cli, ["-q", "batch", str(file), "-o", str(tmp_path / "out")])
    assert (first.exit_code, first.stdout) == (1, "1 of 2 jobs done by 1 worker, 1 failed\n")
    assert (
        first.stderr
        == "Error: job 2 seed: 'two' is not a whole number (0 to 18446744073709551615). Give a whole number.\n"
    )
    again = CliRunner().invoke(cli, ["batch", str(written(tmp_path, [CIRCLE])), "-o", str(tmp_path / "out")])
    assert (again.exit_code, again.stdout) == (0, "0 of 1 job done by 0 workers, 1 done before\n")
