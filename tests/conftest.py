"""Settings that hold for every test."""

import os

import pytest
import torch
from hypothesis import settings

# No deadline: that a machine is busy is no fault of the code. `max_examples` keeps the whole set within minutes.
settings.register_profile("wanloom", deadline=None, max_examples=50)
settings.load_profile("wanloom")

if "PYTEST_XDIST_WORKER" in os.environ:  # each of several processes has one core, and so has what it starts
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests compute out of the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def some_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand the CPU in for an accelerator where there is none: diffusers 0.36 asks for one even to offload to a CPU."""
    if not torch.accelerator.is_available():
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cpu"))
