"""The jobs of a comparison, each done here as a process of it does: the base, the trainings, the videos, the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comparison.small import DRIFT, RATES, few_clips, keys

from lora_core.comparison.collect import collect
from lora_core.comparison.compare import check_unchanged
from lora_core.comparison.config import Run, make_comparison
from lora_core.comparison.folder import ComparisonFolder, read_json
from lora_core.comparison.report import write_report
from lora_core.comparison.worker import Bench, look_at_base, train_one, watch
from lora_core.errors import TrainingError
from lora_core.training.log import read_log

RUNS = {method: Run(method, rates[0], 0) for method, rates in RATES.items()}  # type: ignore[arg-type]
SUBJECTS = ("base-plain", "base-packed", "full-0.001-seed-0-plain", "qlora-0.01-seed-0-packed")


def bench_for(folder: Path, cache: Path, **given: Any) -> Bench:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.toml").write_text(make_comparison(given).to_toml())
    return Bench(ComparisonFolder(folder), cache, lambda: False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take six of the clips that come along."""
    return few_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Bench:
    """Do every job of a comparison of all methods, but for one subject's videos."""
    folder = tmp_path_factory.mktemp("compared")
    bench = bench_for(folder, folder / "cache", **keys(clips))
    look_at_base(bench)
    for run in RUNS.values():
        train_one(bench, run.method, repr(run.lr), str(run.seed))
    watch(bench, *SUBJECTS)
    return bench


def judged(bench: Bench, method: str) -> dict[str, Any]:
    found = read_json(bench.folder.judged(RUNS[method]))
    assert found is not None
    return found


@pytest.mark.parametrize(("method", "base"), [("full", "plain"), ("lora", "plain"), ("qlora", "packed")])
def test_the_written_files_lose_what_the_training_measured_last(bench: Bench, method: str, base: str) -> None:
    last = read_log(bench.folder.run(RUNS[method]).path)[-1]
    losses = judged(bench, method)["held_out"][base]
    assert losses["high_noise"] == pytest.approx(last.held_out_high_noise, rel=1e-4)
    assert losses["low_noise"] == pytest.approx(last.held_out_low_noise, rel=1e-4)


def test_an_adapter_from_a_packed_base_is_judged_on_either(bench: Bench) -> None:
    losses, base = judged(bench, "qlora")["held_out"], read_json(bench.folder.prepared)
    assert base is not None
    assert set(losses) == set(base["held_out"]) == {"packed", "plain"}
    assert losses["packed"]["low_noise"] < base["held_out"]["packed"]["low_noise"]
    assert losses["plain"]["low_noise"] < base["held_out"]["plain"]["low_noise"]
    assert losses["plain"]["low_noise"] < losses["packed"]["low_noise"]


def test_what_learns_and_what_it_takes_is_counted(bench: Bench) -> None:
    full, lora, qlora = (judged(bench, method)["probe"] for method in RATES)
    assert full["num_weights"] > 10 * lora["num_weights"]
    assert lora["num_weights"] == qlora["num_weights"]
    assert full["tensor_bytes"] > lora["tensor_bytes"] > qlora["tensor_bytes"]


def test_everything_but_the_base_has_moved_from_it(bench: Bench) -> None:
    readings = {name: read_json(bench.folder.readings(name)) for name in SUBJECTS}
    drift = {name: found["videos"][1] for name, found in readings.items() if found}
    assert [row["prompt"] for row in drift.values()] == [DRIFT] * 4
    assert "moved" not in drift["base-plain"]
    assert all(0 < drift[name]["moved"] < 2 for name in SUBJECTS[1:])
    assert {"colour", "shape", "direction"} <= set(drift["base-plain"])
    assert list(bench.folder.videos(SUBJECTS[2]).glob("learning-0.mp4"))


def test_a_training_that_diverges_is_recorded_and_hinders_nobody(bench: Bench, clips: Path, tmp_path: Path) -> None:
    wild = bench_for(tmp_path / "wild", bench.folder.path / "cache", **keys(clips, max_grad_norm=0.0, ema=0.0))
    run = Run("full", 1e18, 0)
    train_one(wild, run.method, repr(run.lr), "0")
    found = read_json(wild.folder.judged(run))
    assert found is not None
    assert "the loss is nan" in found["diverged"]


def test_clips_that_have_changed_since_are_told(bench: Bench, clips: Path) -> None:
    check_unchanged(bench.folder)
    caption = clips / "blorp-checkered-down.txt"
    before = caption.read_text()
    caption.write_text("a blorp falls")
    try:
        look_at_base(Bench(bench.folder, bench.folder.path / "cache", lambda: False))
        with pytest.raises(TrainingError, match="the clips or the model have changed since this comparison began"):
            check_unchanged(bench.folder)
    finally:
        caption.write_text(before)
        look_at_base(Bench(bench.folder, bench.folder.path / "cache", lambda: False))
    check_unchanged(bench.folder)


def test_the_report_is_made_from_the_json_alone(bench: Bench, tmp_path: Path) -> None:
    written = write_report(collect(bench.config, bench.folder, {}), tmp_path / "a" / "report.md", bench.folder.path)
    data = json.loads(written.with_suffix(".json").read_text())
    again = write_report(data, tmp_path / "b" / "report.md", tmp_path)
    assert written.read_text() == again.read_text()
    text = again.read_text()
    assert "*This comparison is not over:" in text  # one subject has no videos
    assert "| best learning rate | 0.001 | 0.01 | 0.01 |" in text
    assert "QLoRA, base plain (float32)" in text
    assert str(tmp_path) not in text
    assert str(bench.config.common["clips"]) not in json.dumps(data)
    for name in ("loss", "rates", "learnt"):
        assert f"images/comparison-{name}.png" in text
        assert (tmp_path / "b" / "images" / f"comparison-{name}.png").stat().st_size > 5000


def test_a_report_of_nothing_yet_can_be_written(tmp_path: Path) -> None:
    config = make_comparison({"clips": "clips"})
    data = collect(config, ComparisonFolder(tmp_path), {Run("lora", 1e-4, 0): "memory: it has run out."})
    text = write_report(data, tmp_path / "report.md", tmp_path).read_text()
    assert "*This comparison is not over: 8 trainings" in text
    assert "failed: memory: it has run out." in text


def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{"digest": ')
    with pytest.raises(TrainingError, match=r"base\.json: is damaged\. Remove it; what it held is found out again\."):
        collect(make_comparison({"clips": "clips"}), ComparisonFolder(tmp_path), {})


def test_clips_of_which_none_is_held_out_are_refused(bench: Bench, clips: Path, tmp_path: Path) -> None:
    alone = bench_for(tmp_path / "alone", bench.folder.path / "cache", **keys(clips, held_out=0.0))
    with pytest.raises(TrainingError, match="no clip is held out, and nothing could be compared"):
        look_at_base(alone)
