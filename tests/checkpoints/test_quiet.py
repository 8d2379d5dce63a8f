"""What other libraries complain of when they are imported, and that nothing else is hidden with it."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lora_core.checkpoints.quiet import hush, quietly

LOG = logging.getLogger("bitsandbytes.backends.cpu.ops")
COMPLAINT = "Failed to load CPU gemm_4bit_forward from kernels-community: %s"
#: What a command does before its work, and then imports as `generate` does.
PROGRAM = """
import logging
{start}
import peft
from diffusers import WanTransformer3DModel
logging.getLogger("bitsandbytes.backends.cpu.ops").warning("another matter")
"""
START = "from lora_core.cli.main import cli\ncli.main(['stack', '--help'], standalone_mode=False)"


@pytest.fixture(autouse=True)
def nobody_has_asked_for_quiet() -> Iterator[None]:
    """Take away what a command that was run in this process has asked for, and put it back."""
    before = LOG.filters[:]
    LOG.filters.clear()
    yield
    LOG.filters[:] = before


def stderr_of(start: str) -> list[str]:
    program = PROGRAM.format(start=start)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [line for line in done.stderr.splitlines() if "bitsandbytes" in line or "kernel" in line]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="nobody complains without bitsandbytes")
def test_a_command_does_not_tell_its_user_of_a_kernel_that_nothing_here_uses() -> None:
    told = stderr_of(START)
    assert told == ["bitsandbytes.backends.cpu.ops: another matter"]


def test_only_the_one_complaint_is_not_heard_and_only_inside(caplog: pytest.LogCaptureFixture) -> None:
    with quietly():
        with quietly():
            LOG.warning(COMPLAINT, "no module")
        LOG.warning(COMPLAINT, "no module")
        LOG.warning("something else")
    assert caplog.messages == ["something else"]
    LOG.warning(COMPLAINT, "no module")
    assert caplog.messages[1:] == ["Failed to load CPU gemm_4bit_forward from kernels-community: no module"]


def test_a_program_that_asked_for_quiet_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    hush()
    with quietly():
        pass
    LOG.warning(COMPLAINT, "no module")
    assert caplog.messages == []
