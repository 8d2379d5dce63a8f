"""What the tests of Cosmos share: the tiny model in a folder, opened, and diffusers' pipeline around its pieces."""

from types import SimpleNamespace

import pytest
import tiny_cosmos
from torch.nn import functional

from lora_core.families.cosmos.open import open_cosmos


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_cosmos.save_folder(tmp_path_factory.mktemp("cosmos"))


@pytest.fixture(scope="session")
def model(folder):
    return open_cosmos(folder)


@pytest.fixture
def pipeline(monkeypatch):
    """Diffusers' pipeline; its padding mask, all zeros, is scaled by torch where torchvision is not installed."""
    from diffusers.models.transformers import transformer_cosmos

    def resize(mask, size, interpolation):
        return functional.interpolate(mask, size=size, mode=interpolation)

    scaling = SimpleNamespace(
        functional=SimpleNamespace(resize=resize), InterpolationMode=SimpleNamespace(NEAREST="nearest")
    )
    monkeypatch.setattr(transformer_cosmos, "transforms", scaling, raising=False)
    pipeline = tiny_cosmos.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
