"""The jobs of a comparison of refiners, each done here as a process of it does, from the rows to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comparison.refiners.small_refiners import keys

from lora_core.comparison.folder import read_json
from lora_core.comparison.refiners.collect import collect
from lora_core.comparison.refiners.compare import _begin, check_unchanged
from lora_core.comparison.refiners.config import RefinersConfig, Run, make_refiners_config
from lora_core.comparison.refiners.folder import RefinersFolder
from lora_core.comparison.refiners.report import write_report
from lora_core.comparison.refiners.worker import Bench, ask_baseline, look_at_base, train_one, watch
from lora_core.errors import TrainingError

pytest.importorskip("trl")
RUN = Run("lora", 1e-2, 16, 0.5, 0)


def config_for() -> RefinersConfig:
    return make_refiners_config(keys(methods=["lora"], rates={"lora": [1e-2]}))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Do every job of a comparison of one method but one training."""
    folder = RefinersFolder(tmp_path_factory.mktemp("refiners"))
    _begin(config_for(), folder)
    bench = Bench(folder, lambda: False)
    look_at_base(bench)
    for name in ("raw", "dictionary-new", "shown"):
        ask_baseline(bench, name)
    train_one(bench, *RUN.words)
    watch(bench)
    return bench


def test_a_training_is_judged_at_its_checkpoints_and_at_the_end(bench: Bench) -> None:
    judged = read_json(bench.folder.judged(RUN))
    assert judged is not None
    assert [point["step"] for point in judged["curve"]] == [1, 2]
    assert set(judged["measured"]) == {"full"}
    assert judged["measured"]["full"]["new"]["num_rows"] == 4
    assert judged["bytes"]["weights"] > judged["bytes"]["states"] == 2 * judged["bytes"]["gradients"]
    assert not list(bench.folder.run(RUN).checkpoints.glob("step-*"))


def test_a_video_is_read_for_every_text(bench: Bench) -> None:
    found = read_json(bench.folder.videos)
    assert found is not None
    assert set(found["readings"]) == {"0", "1"}
    assert all(len(seen) == 3 for texts in found["readings"].values() for seen in texts.values())
    right = collect(bench.config, bench.folder, {})["videos"]["subjects"]["right"]
    assert right["colour"]["mean"] == 1.0


def test_the_report_tells_what_there_is(bench: Bench, tmp_path: Path) -> None:
    data = collect(bench.config, bench.folder, {})
    text = write_report(data, tmp_path / "report.md").read_text()
    assert "*This comparison is not over: 1 training and what follows from it is missing.*" in text
    assert "| **LoRA, rehearsing** | 0.01 |" in text
    assert str(bench.folder.path) not in json.dumps(data)
    assert json.loads((tmp_path / "report.json").read_text()) == data


def test_other_settings_are_refused_in_a_folder_that_has_trainings(bench: Bench) -> None:
    other = make_refiners_config(keys(methods=["lora"], rates={"lora": [1e-2]}) | {"steps": 3})
    with pytest.raises(TrainingError, match="the trainings here have other settings: steps 2 there, 3 here"):
        _begin(other, bench.folder)


def test_questions_that_have_changed_since_are_told(bench: Bench) -> None:
    check_unchanged(bench.folder)
    kept = bench.folder.base.read_text()
    try:
        bench.folder.base.write_text(json.dumps({**json.loads(kept), "digest": "other"}))
        with pytest.raises(TrainingError, match="have changed since this comparison began"):
            check_unchanged(bench.folder)
    finally:
        bench.folder.base.write_text(kept)
