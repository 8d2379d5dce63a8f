"""What held-out losses say: better, plateau, overfit; and the guard against losses that are lost."""

from __future__ import annotations

import math

import pytest

from lora_core.errors import TrainingError
from lora_core.training.guard import Guard
from lora_core.training.validation import History, Measured


def history(held_out: list[float], trained: list[float]) -> History:
    rows = [
        Measured(100 * i, {"high_noise": loss, "low_noise": loss}, {"low_noise": train} if i else {})
        for i, (loss, train) in enumerate(zip(held_out, trained, strict=True))
    ]
    return History(rows)


def test_a_training_that_learns_needs_no_words() -> None:
    told = history([1.0, 0.8, 0.7, 0.65, 0.6], [1.0, 0.8, 0.7, 0.6, 0.5])
    assert told.verdict() == ""
    assert told.worse_in_a_row() == 0
    assert told.best is not None
    assert told.best.step == 400


def test_a_rising_held_out_loss_beside_a_falling_trained_one_is_called_overfit() -> None:
    told = history([1.0, 0.8, 0.7, 0.75, 0.8], [1.0, 0.8, 0.6, 0.4, 0.2])
    assert told.verdict().startswith("overfit: the loss on trained clips falls, and that on held-out clips has risen")
    assert "since step 200 (from 0.7000 to 0.8000)" in told.verdict()
    assert told.worse_in_a_row() == 2


def test_a_held_out_loss_that_falls_no_more_is_called_a_plateau() -> None:
    told = history([1.0, 0.8, 0.799, 0.8, 0.799], [1.0, 0.8, 0.8, 0.8, 0.8])
    assert told.verdict().startswith("plateau: the held-out loss has not fallen since step")
    assert told.worse_in_a_row() == 3


def test_nothing_is_said_of_too_few_measurements() -> None:
    assert history([1.0, 2.0, 3.0], [1.0, 0.5, 0.2]).verdict() == ""
    assert History().best is None


def test_a_history_is_what_it_was_when_it_is_gone_on_with() -> None:
    told = history([1.0, 0.8], [1.0, 0.5])
    assert History.from_state(told.state()).rows == told.rows


@pytest.mark.parametrize(
    ("loss", "gradient", "text"),
    [
        (math.nan, 1.0, "step 21: the loss is nan and its gradient 1 long. Lower lr and go on from there."),
        (0.5, math.inf, "step 21: the loss is 0.5 and its gradient inf long. Lower lr and go on from there."),
        (50.0, 1.0, "step 21: the loss has exploded to 50, from about 0.5. Lower lr and go on from there."),
    ],
)
def test_a_loss_that_is_lost_stops_the_training_with_the_last_good_checkpoint(loss, gradient, text) -> None:
    guard = Guard()
    for step in range(20):
        guard.check(f"step {step + 1}", 0.5, 1.0, lambda: "from there")
    with pytest.raises(TrainingError) as caught:
        guard.check("step 21", loss, gradient, lambda: "from there")
    assert str(caught.value) == text


def test_a_guard_knows_nothing_usual_at_first() -> None:
    guard = Guard()
    for loss in (0.01, 5.0, 0.02):
        guard.check("step", loss, 1.0, str)
    assert Guard(guard.state()).state() == [0.01, 5.0, 0.02]


def test_a_reward_below_zero_that_grows_is_no_explosion() -> None:
    guard = Guard()
    for step in range(40):
        guard.check("step", -0.1 - 0.01 * step, 1.0, str)
    guard.check("step", 0.05, 1.0, str)
    with pytest.raises(TrainingError, match="has exploded to 50"):
        guard.check("step", 50.0, 1.0, str)
