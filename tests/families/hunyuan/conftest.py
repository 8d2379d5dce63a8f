"""A tiny HunyuanVideo, opened from the folder that diffusers writes and from single files."""

from pathlib import Path

import pytest
import tiny_hunyuan

from lora_core.families.hunyuan.model import HunyuanModel
from lora_core.families.hunyuan.open import open_hunyuan


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hunyuan.save_folder(tmp_path_factory.mktemp("hunyuan") / "model")


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_hunyuan.save_files(tmp_path_factory.mktemp("hunyuan_files"))


@pytest.fixture(scope="package")
def model(files: dict[str, Path]) -> HunyuanModel:
    return open_hunyuan(**files)
