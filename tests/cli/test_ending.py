"""How the program ends when it is told to, or when something nobody foresaw goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_core.cli import main
from lora_core.cli.ending import INTERRUPTED

#: Runs `plan`, which in this test waits beside a file that is half-written.
HELD = """
import sys, time
from pathlib import Path
import lora_core.stack.loading as loading
from lora_core.atomic import replacing
from lora_core.cli import main

def wait(*_, **__):
    with replacing(target) as temporary:
        temporary.write_bytes(bytes(1000))
        Path(f"{target}.started").touch()
        time.sleep(60)

target, loading.load_stack, sys.argv = sys.argv[1], wait, ["lora-core", "plan"]
main()
"""

#: Runs `plan`, and is interrupted when a module is about to be imported.
STOPPED = """
import runpy, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            raise KeyboardInterrupt

module, sys.argv = sys.argv[1], ["lora-core", "plan"]
sys.meta_path.insert(0, Interrupt())
runpy.run_module("lora_core", run_name="__main__")
"""


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path} never came")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_end_leaves_nothing_half_written(name: str, tmp_path: Path) -> None:
    program = subprocess.Popen([sys.executable, "-c", HELD, tmp_path / "a.bin"], stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "a.bin.started")
    program.send_signal(getattr(signal, name))
    said = program.communicate(timeout=60)[1]
    assert (program.returncode, said.strip()) == (130, INTERRUPTED)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin.started"]


@pytest.mark.parametrize("module", ["click", "rich", "numpy", "torch", "PIL", "lora_core.stack.loading"])
def test_an_interrupt_while_it_starts_is_one_line(module: str) -> None:
    ended = subprocess.run([sys.executable, "-c", STOPPED, module], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (130, "", INTERRUPTED)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("the tensor is upside down.\nmore of it")


def test_what_nobody_foresaw_is_one_line_that_names_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lora_core.stack.loading.load_stack", fail)
    monkeypatch.setattr("sys.argv", ["lora-core", "plan"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == (
        "Error: lora-core: RuntimeError: the tensor is upside down (an error of its own words). "
        "Run it again with --debug before the command to see where it comes from, and report it.\n"
    )
    monkeypatch.setattr("sys.argv", ["lora-core", "--debug", "plan"])
    with pytest.raises(RuntimeError):
        main()


def test_a_reader_that_has_enough_ends_it_without_a_word() -> None:
    command = [sys.executable, "-m", "lora_core", "plan"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert "Traceback" not in program.stderr.read()
    program.stderr.close()
    assert program.wait(60) == 1
