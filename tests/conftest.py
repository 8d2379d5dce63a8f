"""Settings that hold for every test."""

import pytest
import torch
from hypothesis import settings

# No deadline: that a machine is busy is no fault of the code. `max_examples` keeps the whole set within minutes.
settings.register_profile("wanloom", deadline=None, max_examples=50)
settings.load_profile("wanloom")


@pytest.fixture
def some_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand the CPU in for an accelerator where there is none: diffusers 0.36 asks for one even to offload to a CPU."""
    if not torch.accelerator.is_available():
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cpu"))
