"""What a comparison may be asked for: which trainings it makes of a file, and everything that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lora_core
from lora_core.comparison.config import Run, make_comparison, read_comparison
from lora_core.errors import TrainingError
from lora_core.training.presets import EMBEDDED_PRESETS


def made(**table: Any) -> Any:
    return make_comparison({"clips": "clips", "preset": "quick", "compare": table})


def test_the_shipped_example_tries_two_methods_with_one_rate_and_one_seed() -> None:
    config = read_comparison(Path(lora_core.__file__).parents[1] / "examples" / "compare.toml")
    assert [run.name for run in config.sweep] == ["full-0.001-seed-0", "lora-0.01-seed-0"]
    assert config.settings.seeds == (0,)


def test_without_a_table_all_methods_are_tried_with_three_rates_and_three_seeds() -> None:
    config = make_comparison({"clips": "clips", "preset": "quick"})
    assert [run.method for run in config.sweep] == ["full"] * 3 + ["lora"] * 3 + ["qlora"] * 3
    assert {run.seed for run in config.sweep} == {0}
    assert config.settings.seeds == (0, 1, 2)


def test_the_usual_rates_lie_around_the_presets_and_those_of_all_weights_at_a_tenth() -> None:
    config = made()
    usual = EMBEDDED_PRESETS["quick"]["lr"]
    assert config.rates("lora") == config.rates("qlora") == (0.003, usual, 0.03)
    assert config.rates("full") == (0.0003, usual / 10, 0.003)
    assert make_comparison({"clips": "clips"}).rates("lora") == (3e-5, 1e-4, 3e-4)


def test_all_trainings_share_everything_but_method_rate_and_seed() -> None:
    config = make_comparison({"clips": "clips", "preset": "quick", "rank": 4, "steps": 7, "compare": {}})
    values = [config.train_config(run).values() for run in config.sweep]
    differing = {key for key in values[0] if len({str(value[key]) for value in values}) > 1}
    # All weights have no rank of their own: the preset's stands there, and does nothing.
    assert differing == {"method", "lr", "name", "rank"}
    assert {value["memory_plan"] for value in values} == {"as_asked"}


def test_keys_of_some_methods_go_to_these_alone() -> None:
    config = make_comparison({"clips": "clips", "rank": 4, "base": "fp8"})
    full, lora, qlora = (config.train_config(Run(method, 1e-3, 0)) for method in ("full", "lora", "qlora"))
    assert (lora.adapter.rank, qlora.adapter.rank) == (4, 4)
    assert (full.adapter.base, lora.adapter.base, qlora.adapter.base) == ("nf4", "nf4", "fp8")


def test_what_is_written_reads_back_to_the_same_trainings(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    file = tmp_path / "a.toml"
    file.write_text('clips = "clips"\npreset = "quick"\n[compare]\nseeds = [4, 5]\n[compare.rates]\nlora = [1e-3]\n')
    config = read_comparison(file, ["steps=9"])
    assert config.common["clips"] == str(tmp_path / "clips")
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "b.toml"
    again.write_text(config.to_toml())
    read = read_comparison(again)
    assert read.sweep == config.sweep
    assert [read.train_config(run) for run in read.sweep] == [config.train_config(run) for run in config.sweep]
    assert read.any_train_config.learning.steps == 9


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"compare": {"sedes": [1]}}, "compare: unknown key 'sedes' (nearest: 'seeds'). Correct or remove it."),
        ({"stpes": 3}, "comparison: unknown key 'stpes' (nearest: 'steps'). Correct or remove it."),
        ({"lr": 1e-3}, "lr: is set by the comparison itself (rates of [compare]). Leave it out."),
        ({"memory_plan": "auto"}, None),
        ({"patience": 2}, None),
        ({"compare": 3}, "comparison: compare is 3 (a table [compare]). Write its keys under a line [compare]."),
        (
            {"compare": {"methods": ["lroa"]}},
            "methods: unknown value 'lroa' (nearest: 'lora'). Choose one that there is.",
        ),
        (
            {"compare": {"methods": []}},
            "methods: none are given (at least one). Give one, or leave the key out for the usual ones.",
        ),
        (
            {"compare": {"methods": "lora"}},
            "methods: 'lora' is no list (methods = [ … ]). Put it in square brackets, even where it is but one.",
        ),
        ({"compare": {"seeds": [1, 1]}}, "seeds: 1 is given twice. Leave one out."),
        (
            {"compare": {"seeds": [0.5]}},
            "seeds: 0.5 is not a whole number (0 to 9223372036854775807). Give a whole number.",
        ),
        (
            {"compare": {"seeds": []}},
            "seeds: none are given (at least one). Give one, or leave the key out for the usual ones.",
        ),
        (
            {"compare": {"rates": {"lora": [0]}}},
            "rates.lora: 0 teaches nothing (above 0). Correct that rate, or leave it out.",
        ),
        (
            {"compare": {"rates": {"lora": 1e-3}}},
            "rates.lora: 0.001 is no list (lora = [ … ]). Put it in square brackets, even where it is but one.",
        ),
        (
            {"compare": {"rates": {"lora": ["fast"]}}},
            "rates.lora: 'fast' is not a number (a finite real number). Give a number.",
        ),
        ({"compare": {"rates": [1e-3]}}, None),
        (
            {"compare": {"methods": ["lora"], "rates": {"full": [1e-4]}}},
            "rates.full: would do nothing. Leave it out, or compare full.",
        ),
        (
            {"rank": 4, "compare": {"methods": ["full"]}},
            "rank: would do nothing with methods full. Leave it out, or compare lora or qlora.",
        ),
        ({"objective": "speed"}, "objective: 'speed' is not compared (flow). Leave the key objective out."),
        (
            {"compare": {"score": "blorp"}},
            "score: 'blorp' is read from videos, and no prompt asks for one. "
            "Give learning_prompts, or choose score = 'held_out'.",
        ),
        (
            {"model": "some.safetensors", "compare": {"score": "blorp", "learning_prompts": ["a blorp"]}},
            "score: 'blorp' reads the clips of the embedded model alone (held_out). Leave it out.",
        ),
        (
            {"compare": {"drift_prompts": [""]}},
            """drift_prompts: [''] is no list of texts (["…", "…"]). Put each prompt in quotation marks.""",
        ),
        ({"compare": {"video_cfg": -1}}, "video_cfg: -1 is negative (0 or more). Give 0 for the model's own."),
        ({"steps": 0}, "steps: 0 is out of range (at least 1). Choose a number in that range."),
        ({"clips": ""}, "comparison: no clips (clips = …). Add it."),
    ],
)
def test_what_cannot_be_compared_is_refused(given: dict[str, Any], text: str | None) -> None:
    with pytest.raises(TrainingError) as error:
        make_comparison({"clips": "clips", **given})
    assert text is None or str(error.value) == text
