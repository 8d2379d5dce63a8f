"""What the program changes of its process, put back behind each test of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from lora_core.cli.ending import ENDING


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
