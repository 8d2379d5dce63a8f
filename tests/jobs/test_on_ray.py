"""Jobs on processes of Ray: shared out, done again where a process was killed, given up where it always is."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import doers
import pytest
from doers import Chore, CountedOpening, Doer

import lora_core
from lora_core.errors import RequestError
from lora_core.jobs.ended import Done, Fault, Lost
from lora_core.jobs.maker import HowToMake
from lora_core.jobs.on_ray import check_address, ray_posts, require_ray
from lora_core.jobs.read import read_jobs
from lora_core.jobs.run import run_jobs
from lora_core.jobs.sharing import share

# Ray opens sockets and files that end with its processes, not with its objects.
pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("ray", reason="an extra: pip install '.[ray]'")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One for all tests here, whose processes find what these import."""
    folders = [Path(doers.__file__).parent, Path(lora_core.__file__).parents[1], os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, filter(None, folders))))
        require_ray().init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        require_ray().shutdown()


def test_a_killed_process_costs_a_job_its_time_and_a_deadly_job_is_given_up(tmp_path: Path) -> None:
    chores = [
        Chore(1),
        Chore(2, deaths=1),
        Chore(3, "bad"),
        Chore(4, deaths=99),
        *(Chore(number) for number in range(5, 9)),
    ]
    with ray_posts(partial(Doer, tmp_path), 2, None) as posts:
        events = list(share(chores, posts))
    done = {event.number: event for event in events if isinstance(event, Done)}
    faults = {event.number: str(event.error) for event in events if isinstance(event, Fault)}
    assert done.keys() == {1, 2, 5, 6, 7, 8}
    assert faults[3] == "job 3 seed: is odd (an even one). Add one."
    assert faults[4].startswith("job 4: 2 workers died of it, the last one process ")
    lost = [event for event in events if isinstance(event, Lost)]
    deaths = {path.name.split("-")[1]: path for path in tmp_path.glob("died-*")}
    assert len(lost) == 3
    assert deaths.keys() == {"2", "4"}
    # The one that had job 2 first is dead, so another has done it.
    assert done[2].worker != f"process {deaths['2'].name.split('-')[2]}"
    # Two began, and one in the place of each that died while there was work left.
    assert 4 <= len(list(tmp_path.glob("began-*"))) <= 5


def test_an_address_where_nobody_listens_is_said_at_once_before_ray_waits_for_it() -> None:
    with socket.socket() as bound:  # its port is taken, so that nobody else listens there
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        for given in (address, f"ray://{address}", "127.0.0.1:99999"):
            with pytest.raises(RequestError) as caught:
                check_address(given)
            assert str(caught.value) == (
                f"--ray-address: no cluster answers: nobody listens at {given.removeprefix('ray://')} (such as auto, "
                "or HOST:6379). Start one with `ray start --head`, or correct the address."
            )
    for given in (None, "auto", "local"):
        check_address(given)


@pytest.fixture
def jobs_file(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.json"
    stacks = (["speed_6steps"], ["speed_6steps", "zibbo_character"])
    rows = [{"prompt": "a zibbo moves right", "loras": stack, "seed": seed} for stack in stacks for seed in range(2)]
    file.write_text(json.dumps({"defaults": {"steps": 2, "frames": 5, "size": "32x32"}, "jobs": rows}))
    return file


@pytest.mark.skipif(not os.environ.get("REAL_WORKERS"), reason="slow; `make prove-workers`")
def test_each_process_opens_the_model_once_and_makes_what_this_one_makes(tmp_path: Path, jobs_file: Path) -> None:
    opened = {name: tmp_path / f"opened-{name}" for name in ("here", "there")}
    for folder in opened.values():
        folder.mkdir()
    events = {
        name: list(
            run_jobs(
                read_jobs(jobs_file, tmp_path / name), HowToMake(CountedOpening(opened[name])), num_workers=num_workers
            )
        )
        for name, num_workers in (("here", 1), ("there", 2))
    }
    assert [type(event) for event in (*events["here"], *events["there"])] == [Done] * 8
    for number in range(1, 5):
        one, other = (tmp_path / name / f"00{number}.mp4" for name in ("here", "there"))
        assert one.read_bytes() == other.read_bytes()
    # One here; there, two that make the videos, and this one, which looks at the list.
    assert len(list(opened["here"].iterdir())) == 1
    by_process = [path.name.split("-")[0] for path in opened["there"].iterdir()]
    assert len(by_process) == len(set(by_process)) == 3
