"""A list of jobs sent to ComfyUI servers: shared out, fetched, not made twice, and gone on with when one is down."""

import json
import socket
from pathlib import Path

from harness.client import Client
from harness.finding import PROJECT
from PIL import Image

from lora_core.jobs.ended import Done, Fault, Kept, Lost
from lora_core.jobs.read import read_jobs
from lora_core.jobs.run_on_servers import run_on_servers
from lora_core.media.video import read_video

WORKFLOWS = PROJECT / "workflows" / "api"
SPEED = {"path": "speed_6steps_high_noise.safetensors"}
ZIBBO = {"path": "zibbo_character_high_noise.safetensors", "weight": 0.7}


def written(folder: Path, rows: list[dict]) -> Path:
    small = {"steps": 2, "frames": 5, "size": "32x48", "scale": 2, "loras": [SPEED]}
    (folder / "jobs.json").write_text(json.dumps({"defaults": small, "jobs": rows}))
    return folder / "jobs.json"


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_jobs_of_a_server_that_is_down_go_to_another_and_a_bad_one_is_named(comfy: Client, tmp_path: Path) -> None:
    rows = [
        {"prompt": "a red circle moves up on a plain background", "seed": 1},
        {"prompt": "a zibbo moves right on a plain background", "seed": 2, "loras": [SPEED, ZIBBO]},
        {"prompt": "a red circle moves up", "loras": [{"path": "speed_5steps.safetensors"}]},
        {"prompt": "a red circle moves up", "solver": "heun_of_old"},
        {"prompt": "a red circle moves up", "radial": "usual"},
    ]
    down, up = closed_port(), comfy.server.url

    def ran() -> list:
        jobs = read_jobs(written(tmp_path, rows), tmp_path / "out")
        return list(run_on_servers(jobs, [down, up], WORKFLOWS / "pocket-quickstart.json"))

    events = ran()
    done = {event.number: event for event in events if isinstance(event, Done)}
    faults = {event.number: str(event.error) for event in events if isinstance(event, Fault)}
    assert done.keys() == {1, 2}, faults
    assert {event.worker for event in done.values()} == {up}
    assert [event.worker for event in events if isinstance(event, Lost)] == [down]
    assert faults[3].startswith(f"job 3 {up}: it refuses the workflow: node 2 'Apply LoRA Stack'")
    assert "speed_5steps.safetensors" in faults[3]
    assert faults[4].startswith("job 4 solver: unknown value 'heun_of_old'")
    assert faults[5].startswith("job 5 radial: the workflow has no place for it")
    for number, event in done.items():
        frames, _ = read_video(event.output)
        assert frames.shape == (5, 96, 64, 3)
        record = json.loads(event.output.with_name(f"{event.output.name}.json").read_text())
        assert (record["server"], record["workflow"]["6"]["inputs"]["seed"]) == (up, number)
    assert (tmp_path / "out/001.mp4").read_bytes() != (tmp_path / "out/002.mp4").read_bytes()
    rows[1]["seed"] = 3
    again = ran()
    assert [event.number for event in again if isinstance(event, Kept)] == [1]
    assert [event.number for event in again if isinstance(event, Done)] == [2]


def test_a_picture_is_brought_to_the_server(comfy: Client, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    rows = [{"prompt": "a red circle moves up", "image": str(tmp_path / "red.png"), "size": "32x32", "frames": 5}]
    (tmp_path / "jobs.json").write_text(json.dumps(rows))
    shipped = json.loads((WORKFLOWS / "pocket-i2v-6-step.json").read_text())
    workflow = {number: node for number, node in shipped.items() if int(number) > 8}
    workflow["7"] = {"class_type": "LoadImage", "inputs": {"image": "of the workflow.png"}}
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    jobs = read_jobs(tmp_path / "jobs.json", tmp_path)
    (event,) = run_on_servers(jobs, [comfy.server.url], tmp_path / "workflow.json")
    assert isinstance(event, Done), event
    frames, _ = read_video(event.output)
    assert frames[0, ..., 0].mean() > 150 > 100 > frames[0, ..., 1].mean()
    assert len(list((comfy.server.base / "input").glob("wanloom-*.png"))) == 1
