"""The plans of a training's memory, and the choice among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_core import open_wan
from lora_core.errors import TrainingError
from lora_core.families.wan.model import WanModel
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.memory.choice import Choice, choose, fits, look_at
from lora_core.training.memory.load import Load, load_of_config
from lora_core.training.memory.machine import Machine, system_left, this_machine
from lora_core.training.memory.plan import AS_ASKED, Plan, plans, plans_from, read_plan, write_plan
from lora_core.training.memory.predict import Part, Prediction

SMALL = {"clips": "x", "name": "n"}
AMPLE = Machine(None, 2**40)


def config(**given: Any) -> TrainConfig:
    return make_config(SMALL | given)


def names(config: TrainConfig, *, on_gpu: bool = True) -> list[str]:
    return [plan.name for plan in plans(config, on_gpu=on_gpu)]


def test_each_plan_takes_over_what_those_before_it_change() -> None:
    made = plans(config(), on_gpu=True)
    assert [(plan.name, dict(plan.changes)) for plan in made] == [
        ("as asked", {}),
        ("checkpointing", {"checkpointing": True}),
        ("8-bit optimiser", {"checkpointing": True, "optimizer": "adamw8bit"}),
        ("fp8 base", {"checkpointing": True, "optimizer": "adamw8bit", "method": "qlora", "base": "fp8"}),
        ("nf4 base", {"checkpointing": True, "optimizer": "adamw8bit", "method": "qlora", "base": "nf4"}),
        (
            "base in system memory",
            {"checkpointing": True, "optimizer": "adamw8bit", "method": "qlora", "base": "nf4", "offload": True},
        ),
    ]
    assert str(made[2]) == '8-bit optimiser: checkpointing = true, optimizer = "adamw8bit"'


def test_a_plan_that_would_change_nothing_is_none() -> None:
    assert names(config(method="full")) == ["as asked", "checkpointing", "8-bit optimiser"]
    assert names(config(optimizer="prodigy", checkpointing=True, method="qlora")) == [
        "as asked",
        "base in system memory",
    ]
    assert names(config(method="qlora", base="int8", checkpointing=True, optimizer="muon"), on_gpu=False) == [
        "as asked",
        "nf4 base",
    ]


def test_a_plan_changes_its_keys_and_no_other() -> None:
    asked = config(rank=4, steps=30)
    used = plans(asked, on_gpu=True)[-1].apply(asked)
    changed = {key for key, value in used.values().items() if value != asked.values()[key]}
    assert changed == {"checkpointing", "optimizer", "method", "offload"}  # nf4 is how `base` is anyhow
    assert AS_ASKED.apply(asked) is asked


def test_a_checkpoint_tells_its_plan(tmp_path: Path) -> None:
    asked = config()
    assert read_plan(tmp_path) == (AS_ASKED, "")
    second = plans(asked, on_gpu=True)[2]
    write_plan(tmp_path, second, second.apply(asked))
    assert read_plan(tmp_path) == (second, "adamw8bit")
    assert [plan.name for plan in plans_from(second, asked, on_gpu=False)] == [
        "8-bit optimiser",
        "fp8 base",
        "nf4 base",
    ]
    other = Plan("of an older version", {"rank": 2})
    assert plans_from(other, asked, on_gpu=True) == (other,)
    (tmp_path / "plan.json").write_text("[")
    with pytest.raises(TrainingError, match=r"plan.json: is damaged. Remove the folder"):
        read_plan(tmp_path)


@pytest.fixture(scope="module")
def model() -> WanModel:
    return open_wan("pocket", offload="experts")


@pytest.fixture(scope="module")
def load(model: WanModel) -> Load:
    return load_of_config(config(batch_size=2), model.spec, 32)


@pytest.fixture(scope="module")
def all_of_them(model: WanModel, load: Load) -> Choice:
    return look_at(config(), model, load, AMPLE, all_plans=True)


def test_every_plan_takes_less_than_the_one_before(all_of_them: Choice) -> None:
    taken = [prediction.system for _, prediction in all_of_them.predictions]
    assert len(taken) == 5
    assert taken == sorted(taken, reverse=True)
    assert all_of_them.chosen == AS_ASKED


def test_the_first_plan_that_fits_is_taken(model: WanModel, load: Load, all_of_them: Choice) -> None:
    for plan, prediction in all_of_them.predictions[:4:3]:
        choice = choose(config(), model, load, Machine(None, prediction.system))
        assert choice.chosen == plan
        assert len(choice.predictions) == 1 + [p for p, _ in all_of_them.predictions].index(plan)


def test_where_none_fits_the_error_tells_what_is_needed_and_what_there_is(
    model: WanModel, load: Load, all_of_them: Choice
) -> None:
    least = all_of_them.predictions[-1][1].system
    with pytest.raises(TrainingError) as caught:
        choose(config(), model, load, Machine(None, 3 * 2**20))
    assert str(caught.value) == (
        f"memory: the plan that takes least, nf4 base, takes {least / 2**20:.1f} MiB of system memory"
        " (at most 3.0 MiB of system memory, which are left)."
        " Use fewer frames, a smaller resolution, a smaller batch or a lower rank."
    )


def test_both_memories_have_to_suffice() -> None:
    prediction = Prediction({"weights": Part(device=5, system=7, mapped=2), "activations": Part(device=1)})
    assert (prediction.device, prediction.system, prediction.allocated) == (6, 7, 11)
    assert fits(prediction, Machine(6, 7))
    assert not fits(prediction, Machine(5, 7))
    assert not fits(prediction, Machine(6, 6))
    assert fits(prediction, Machine(None, 7))


def test_the_table_has_a_column_for_each_plan_and_a_row_for_each_component() -> None:
    first = Prediction({"weights": Part(device=3 * 2**30, system=2**30), "average": Part()})
    second = Prediction({"weights": Part(device=2**30, system=2**30), "average": Part()})
    choice = Choice(((AS_ASKED, first), (Plan("less"), second)), Machine(2 * 2**30, 8 * 2**30), Plan("less"))
    assert str(choice).splitlines() == [
        "GiB at the peak               as asked    less *",
        "weights, device                    3.0       1.0",
        "in all, device                     3.0       1.0",
        "weights, system                    1.0       1.0",
        "in all, system                     1.0       1.0",
        "left on this machine, device       2.0",
        "left on this machine, system       8.0",
        "* is taken",
    ]


def test_what_this_machine_has_left_is_some_of_what_it_has(model: WanModel) -> None:
    import psutil

    assert this_machine(model.device).device is None
    assert 0 < system_left() < psutil.virtual_memory().total
