"""Two processes that share a clip out make what one makes, with a stack attached; those that cannot are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from packaging.version import Version

from lora_core.cli.main import cli
from lora_core.errors import LoraCoreError, RequestError
from lora_core.families.registry import opener
from lora_core.sampling.context_parallel import check_processes

ROOT = Path(__file__).parents[2]
SHORT = ["generate", "-p", "a zibbo moves right", "--steps", "1", "--frames", "1", "--size", "32x32"]


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let two processes do all there is to do, and return the folder of what they wrote."""
    if Version(version("diffusers")) < Version("0.38"):
        pytest.skip("diffusers 0.38 or newer")
    out = tmp_path_factory.mktemp("shared")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    more = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    script = [str(Path(__file__).with_name("launched.py")), str(out)]
    done = subprocess.run([*launcher, *script], env=os.environ | more, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Warning" not in done.stderr
    return out


def cases(folder: Path) -> dict[str, Any]:
    first, second = (json.loads((folder / f"{index}.json").read_text()) for index in range(2))
    assert first.keys() == second.keys()
    return first


@pytest.mark.parametrize("case", ["clip", "cosmos, one time", "cosmos, a time for each frame", "hunyuan, padded texts"])
def test_two_processes_compute_with_a_stack_what_one_does(shared_out: Path, case: str) -> None:
    assert cases(shared_out)[case] < 1e-5


def test_what_two_processes_cannot_share_is_told_before_a_network_runs(shared_out: Path) -> None:
    assert cases(shared_out)["one token"] == (
        "context parallel: 2 processes do not divide the 1 tokens of the clip (another size, or one process). "
        "Launch as many as can share them."
    )
    assert cases(shared_out)["radial"] == (
        "radial: several processes do not compute one clip with it. Leave it out, or run in one process."
    )


def test_the_first_process_alone_writes_and_speaks(shared_out: Path) -> None:
    assert sorted(path.name for path in shared_out.glob("by-*")) == ["by-0.mp4"]
    assert "by-0.mp4: 5 frames" in (shared_out / "good-0.txt").read_text()
    assert (shared_out / "good-1.txt").read_text() == "0  None"
    assert "no such file" in (shared_out / "bad-0.txt").read_text()
    assert (shared_out / "bad-1.txt").read_text() == "1  1"


def test_a_number_that_does_not_divide_the_heads_is_told_with_those_that_do() -> None:
    model = opener("pocket")("pocket")
    network: Any = model.at_rest("high_noise").module
    assert network.config.num_attention_heads == 4
    with pytest.raises(RequestError) as error:
        check_processes(network, model.spec, (1, 16, 5, 8, 8), 512, 3)
    assert str(error.value) == (
        "context parallel: 3 processes do not divide the 4 heads of self-attention (2 or 4). "
        "Launch as many as can share them."
    )


@pytest.mark.parametrize(
    ("arguments", "launched", "said"),
    [
        (
            ["--context-parallel"],
            "1",
            "--context-parallel: there is one process, which has nobody to share the clip with",
        ),
        ([], "2", "launcher: 2 processes are launched, each of which would make the whole clip"),
    ],
)
def test_a_launcher_and_an_option_that_do_not_agree_are_one_error(
    arguments: list[str], launched: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", launched)
    ended = CliRunner().invoke(cli, [*SHORT, "-o", str(tmp_path / "a.mp4"), *arguments])
    assert isinstance(ended.exception, LoraCoreError)
    assert str(ended.exception).startswith(said)
    assert list(tmp_path.iterdir()) == []
