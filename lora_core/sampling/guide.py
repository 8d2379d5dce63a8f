"""The guide at work beside a walk: what its LoRAs change in its prediction, from one batch of two.

Letters: B batch, C latent channels, F latent frames, H W latent height and width; v, x and sigma as in `solvers.py`.
At one noise level x0 = x - sigma v, so that a difference of x0 is one of v, scaled: both models see the same x.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor

from ..apply.attachment import Attachment, attach
from ..errors import ModelError, PlanError
from ..experts import Expert
from ..families.condition import Condition
from ..families.opened import Networks
from ..families.registry import family_of
from ..plan.steering import Steering
from .guidance import guided_velocity


@dataclass(frozen=True, eq=False)
class GuideNetworks:
    """The networks of a small model that steers, and what they are told of the clip.

    Attributes:
        experts: the networks, such as an opened model.
        condition: the same texts that the large model is given; a picture where the guide's kind of model takes one.
    """

    experts: Networks
    condition: Condition


class GuideWalk:
    """A guide from the first step of a walk to the last; one of its experts at a time has its LoRAs attached.

    Between its own predictions its LoRAs act on no row, so that the guide may be the very network that it steers.
    """

    def __init__(self, guide: GuideNetworks, steering: Steering) -> None:
        self._experts = guide.experts
        self._steering = steering
        self._condition = guide.condition.to(guide.experts.device, guide.experts.dtype).doubled()
        self._attached: tuple[Expert, Attachment] | None = None
        self._leave = ExitStack()

    def acts(self, i: int) -> bool:
        """Say whether the guide runs at step i of the walk."""
        return self._steering.acting[i]

    def change(self, x: Tensor, i: int) -> Tensor:
        """Return lambda (v with the LoRAs - v without), shaped like normalised latents x (B, C, F, H, W)."""
        step, experts = self._steering.plan.steps[i], self._experts
        expert, attachment = self._on(step.expert)
        attachment.set_strengths(step.strengths)
        network, spec = experts.expert(expert), experts.spec
        twice = torch.cat([x, x]).to(experts.device)
        with attachment.acting_on("second_half"):
            v = guided_velocity(family_of(spec).forward, network, spec, twice, step.sigma, step.cfg, self._condition)
        plain, changed = v.chunk(2)
        return self._steering.strengths[i] * (changed - plain).to(x)

    def _on(self, expert: Expert) -> tuple[Expert, Attachment]:
        """Return the expert with its LoRAs on it; those on the other come off."""
        if self._attached is None or self._attached[0] != expert:
            self._leave.close()
            loras = self._steering.plan.route.for_expert(expert)
            attachment = self._leave.enter_context(attach(self._experts.expert(expert), loras, self._experts.spec))
            self._leave.enter_context(attachment.acting_on("none"))
            self._attached = expert, attachment
        return self._attached

    def __enter__(self) -> GuideWalk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.close()
        self._attached = None


def check_guide_networks(experts: Networks, steering: Steering | None, guide: GuideNetworks | None) -> None:
    """Raise unless there is a guide where one is planned, on the same latents and with all that it needs."""
    if steering is None and guide is None:
        return
    if steering is None or guide is None:
        what = "there is one, and the plan knows of none" if steering is None else "the plan has one, and none is given"
        raise PlanError("guide", what, remedy="Plan with steered() what is to be sampled with a guide")
    if steering.is_guided and guide.condition.negative is None:
        remedy = "Embed a negative prompt, if only an empty one, or let the guide's cfg be 1"
        raise PlanError("guide", "its cfg is not 1 and no negative prompt is embedded", remedy=remedy)
    channels = experts.spec.latent_channels
    probe = torch.stack([torch.zeros(channels), torch.ones(channels)])[..., None, None, None]
    if not torch.allclose(experts.normalise(probe), guide.experts.normalise(probe)):
        what = f"{guide.experts.spec.title} scales its latents otherwise than {experts.spec.title}"
        raise ModelError("guide", what, expected="a model on the same latents", remedy="Open both with the same VAE")
