"""What is learnt from a batch, against computations by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lora_core.errors import TrainingError
from lora_core.families.condition import Condition
from lora_core.training.batches import Batch
from lora_core.training.objectives.flow import flow
from lora_core.training.objectives.judge import find_judge
from lora_core.training.objectives.reward import Reward
from lora_core.training.objectives.speed import Trajectories, speed


def batch(known: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(3)
    latents, noise = (torch.randn(2, 4, 3, 2, 2, generator=generator) for _ in range(2))
    condition = Condition(torch.zeros(2, 1, 1), known_frames=known)
    return Batch(latents, noise, torch.tensor([0.25, 0.9]), condition)


class Linear:
    """A network of one number: v = w x + t."""

    def __init__(self, w: float) -> None:
        self.w = torch.tensor(w, requires_grad=True)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        self.seen.append((x.detach(), level))
        return self.w * x + level.view(-1, 1, 1, 1, 1)


def test_flow_matching_asks_for_noise_minus_clip_at_the_mixture_of_both() -> None:
    given, call = batch(), Linear(0.5)
    losses = list(flow(call, given))
    t = given.level.double().view(-1, 1, 1, 1, 1)
    x = (1 - t) * given.latents.double() + t * given.noise.double()
    error = 0.5 * x + t - (given.noise.double() - given.latents.double())
    assert torch.equal(call.seen[0][1], given.level)
    assert call.seen[0][0].double() == pytest.approx(x, abs=1e-6)
    assert len(losses) == 1
    assert losses[0].dtype == torch.float32
    assert losses[0].item() == pytest.approx((error**2).mean().item(), rel=1e-6)
    losses[0].backward()
    assert call.w.grad is not None
    assert call.w.grad.item() == pytest.approx((2 * error * x).mean().item(), rel=1e-5)


def test_every_level_weighs_the_same() -> None:
    """The same error at another level is the same loss: nothing is weighted by t."""
    given = batch()

    class Off:
        def __call__(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
            return given.noise - given.latents + 0.5

    for t in (0.01, 0.5, 0.99):
        assert next(flow(Off(), replace(given, level=torch.full((2,), t)))).item() == pytest.approx(0.25)


def test_frames_that_are_given_have_no_part_in_the_loss() -> None:
    given = batch(known=torch.zeros(2, 4, 1, 2, 2))

    class WrongInTheFirstFrame:
        def __call__(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
            v = given.noise - given.latents
            return torch.cat([v[:, :, :1] + 7, v[:, :, 1:]], dim=2)

    assert next(flow(WrongInTheFirstFrame(), given)).item() == 0


def test_speed_walks_the_students_own_steps_and_pulls_each_to_the_teachers_state() -> None:
    states = torch.randn(3, 2, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    runs = Trajectories(states, (1.0, 0.6, 0.2), Condition(torch.zeros(2, 1, 1)))
    call = Linear(0.3)
    losses = []
    for loss in speed(call, runs):
        loss.backward()
        losses.append(loss.item())
    first = states[0] + (0.6 - 1.0) * (0.3 * states[0] + 1.0)
    second = first + (0.2 - 0.6) * (0.3 * first + 0.6)
    assert [level.tolist() for _, level in call.seen] == [pytest.approx([1.0, 1.0]), pytest.approx([0.6, 0.6])]
    assert call.seen[1][0] == pytest.approx(first)
    assert losses[0] == pytest.approx(((first - states[1]) ** 2).mean().item() / 0.4, rel=1e-5)
    assert losses[1] == pytest.approx(((second - states[2]) ** 2).mean().item() / 0.4, rel=1e-5)
    # The second loss knows nothing of the first step: x was taken as it is.
    by_hand = (2 * (first - states[1]) * -0.4 * states[0]).mean() / 0.4
    by_hand += (2 * (second - states[2]) * -0.4 * first).mean() / 0.4
    assert call.w.grad is not None
    assert call.w.grad.item() == pytest.approx(by_hand.item(), rel=1e-5)


def bright(frames: Tensor, captions: Sequence[str]) -> Tensor:
    """Judge by brightness, and by how long the caption is."""
    return frames.mean(dim=(1, 2, 3, 4)) + torch.tensor([float(len(caption)) for caption in captions])


def test_a_reward_walks_the_last_steps_alone_and_asks_the_judge_of_what_comes_out() -> None:
    states = torch.randn(4, 2, 1, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    runs = Trajectories(states, (1.0, 0.6, 0.2, 0.0), Condition(torch.zeros(2, 1, 1)), ("a", "four"))
    call = Linear(0.3)
    reward = Reward(bright, lambda latents: 2 * latents, num_steps=2, num_latent_frames=2, keep=0.5)
    (loss,) = reward(call, runs)
    loss.backward()
    w = torch.tensor(0.3, requires_grad=True)
    first = states[1] + (0.2 - 0.6) * (w * states[1] + 0.6)
    last = first + (0.0 - 0.2) * (w * first + 0.2)
    by_hand = 0.5 * (last - states[3]).square().mean() - (2 * last[:, :, :2]).mean() - 2.5
    by_hand.backward()
    assert [level.tolist() for _, level in call.seen] == [pytest.approx([0.6, 0.6]), pytest.approx([0.2, 0.2])]
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert call.w.grad is not None
    assert w.grad is not None
    assert call.w.grad.item() == pytest.approx(w.grad.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bright", "'bright' names no function"),
        ("no_such_module:bright", "'no_such_module' cannot be imported"),
        ("math:bright", "'math' has no function 'bright'"),
        ("math:pi", "'math' has no function 'pi'"),
    ],
)
def test_a_judge_that_is_not_there_is_told(name: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        find_judge(name)
