"""The device: the word auto for the best there is, and a remedy for one that this machine has not."""

import pytest
import torch

from lora_core.checkpoints.device import usable_device
from lora_core.errors import ModelError


def test_auto_is_the_gpu_if_there_is_one_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (usable_device("auto").type != "cpu") == has_gpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert usable_device("auto") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match=r"device: 'qpu' cannot be used: .*\. Choose auto, or whichever of cpu, cuda"):
        usable_device("qpu")
