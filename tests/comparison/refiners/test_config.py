"""The configuration of a comparison of refiners: which trainings it plans, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comparison.refiners.small_refiners import RATES, keys

from lora_core.comparison.refiners.config import Run, make_refiners_config, read_refiners_config, run_of
from lora_core.comparison.refiners.folder import RefinersFolder
from lora_core.comparison.refiners.questions import CHOICE
from lora_core.comparison.refiners.videos import watched_runs
from lora_core.errors import TrainingError

SHIPPED = Path(__file__).parents[3] / "benchmarks" / "refiner" / "compare.toml"


def test_the_shipped_configuration_compares_what_the_report_promises() -> None:
    config = read_refiners_config(SHIPPED)
    best = {(method, share): config.settings.rates[method][0] for method in RATES for share in config.shares}
    assert all(len(config.settings.rates[method]) >= 4 for method in RATES)
    assert {1, 4, 64} <= {run.rank for run in config.ranked(best)}
    assert {run.seed for run in config.repeats(best)} == {1, 2}
    assert len(config.planned(best)) == len(set(config.planned(best))) > 40


def test_a_training_is_found_again_by_what_a_process_is_told_of_it() -> None:
    for run in (Run("full", 3e-4, 0, 0.5, 2), Run("qlora", 1e-2, 16, 0.0, 0)):
        assert run_of(*run.words) == run


def test_full_tuning_is_given_no_key_of_adapters() -> None:
    config = make_refiners_config(keys() | {"rank": 8, "alpha": 4.0})
    full, lora = (config.tune_config(run, RefinersFolder(Path())) for run in config.sweep[:2])
    assert (full.rank, lora.rank, lora.alpha) == (type(full).rank, 8, 4.0)


def test_rehearsal_is_tried_beside_none() -> None:
    shares = [run.rehearsal for run in make_refiners_config(keys(rehearsal=0.25)).sweep]
    assert shares == [0.0] * 3 + [0.25] * 3
    assert {run.rehearsal for run in make_refiners_config(keys(rehearsal=0.0)).sweep} == {0.0}


def test_every_rate_is_repeated_where_that_is_asked_for() -> None:
    config = make_refiners_config(keys(seeds=[0, 1], repeated="all", rates={**RATES, "full": [1e-4, 1e-3]}))
    repeats = config.repeats({("full", 0.0): 1e-4})
    assert {run.lr for run in repeats if run.method == "full"} == {1e-4, 1e-3}


def test_videos_are_of_what_is_known_while_other_methods_wait(tmp_path: Path) -> None:
    config = make_refiners_config(keys(seeds=[0, 1], repeated="all", rehearsal=0.0))
    folder, first = RefinersFolder(tmp_path), config.sweep[0]
    judged = {"measured": {"full": {name: {"exact": 0.5} for name in CHOICE}}}
    folder.judged(first).parent.mkdir(parents=True)
    folder.judged(first).write_text(json.dumps(judged))
    assert {(run.method, run.lr, run.seed) for run in watched_runs(config, folder)} == {
        ("full", first.lr, 0),
        ("full", first.lr, 1),
    }


def test_what_is_written_reads_back_to_the_same(tmp_path: Path) -> None:
    config = make_refiners_config(keys(ranks=[1]))
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert read_refiners_config(tmp_path / "c.toml").values() == config.values()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"lr": 1e-3}, "lr: is set by the comparison itself"),
        ({"rows": "mine.jsonl"}, "rows: is set by the comparison itself"),
        ({"stepz": 3}, "stepz"),
        ({"compare": {"rates": {"full": [1e-3]}}}, "rates.lora: none are given"),
        ({"compare": {"rates": RATES, "rank": 3}}, "nearest: 'ranks'"),
        ({"compare": {"rates": RATES, "rehearsal": 1.0}}, "rehearsal: 1 is no share"),
        ({"compare": {"rates": {"full": [1e-3]}, "methods": ["full"], "ranks": [2]}}, "ranks: would do nothing"),
        ({"compare": {"rates": RATES, "seeds": [0, 0]}}, "seeds: 0 is given twice"),
        ({"compare": {"rates": {**RATES, "full": [-1.0]}}}, "teaches nothing"),
        ({"compare": 3}, "compare is 3"),
    ],
)
def test_what_cannot_be_compared_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(TrainingError, match=match):
        make_refiners_config(given)
