"""The guide in ComfyUI's own sampling: what its LoRAs change in its prediction, asked in the middle of a walk.

ComfyUI loads the guide together with the large model (`additional_models`), so that neither is sent away while the
other is at work; its own guider then prepares conditioning, hooks and wrappers for the guide as for any model. A weight
wrapper changes a whole weight, not a row of a batch, so the guide runs twice here where it runs one batch of two
headless. That is the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..lora_core.experts import Expert
from ..lora_core.plan.steering import Steering
from .bridge import bind, strengths_of, with_shift
from .radial_override import radial_of
from .sockets import GuideHandle

if TYPE_CHECKING:
    from ..lora_core.apply.fused import Strengths

_KEY = "wanloom.guide"

#: (patcher, cfg) -> the host's guider on the walk's conditioning.
MakeGuider = Callable[[ModelPatcher, float], comfy.samplers.CFGGuider]


class GuideWalk:
    """A guide beside the steps of one span.

    Args:
        steering: of the walk's plan.
        place: of a step in that plan.
        steps: of the span.
        sigmas: the noise levels of the whole run.
        make_guider: as for the large model.
    """

    def __init__(
        self,
        guide: GuideHandle,
        steering: Steering,
        places: Sequence[int],
        sigmas: tuple[float, ...],
        shift: float,
        make_guider: MakeGuider,
    ) -> None:
        self._steering = steering
        self._places = list(places)
        self._make_guider = make_guider
        self._experts: dict[Expert, tuple[ModelPatcher, Strengths]] = {}
        radial = radial_of(guide.model, sigmas)
        for place in self._places:
            expert = steering.plan.steps[place].expert
            if steering.acting[place] and expert not in self._experts:
                loras = steering.plan.route.for_expert(expert)
                bound = bind(guide.model.expert(expert), loras, guide.model.spec, sigmas)
                own = with_shift(bound, shift)
                if radial is not None:
                    own = radial.on(own)
                self._experts[expert] = _loaded_elsewhere(own), strengths_of(bound)

    def load_with(self, patcher: ModelPatcher) -> None:
        """Let the host load the guide whenever it loads this MODEL, a clone that is this walk's own."""
        if self._experts:
            patcher.set_additional_models(_KEY, [own for own, _ in self._experts.values()])

    def change(self, x: Tensor, i: int, seed: int | None, latent: Mapping[str, Any]) -> Tensor | None:
        """Return lambda (x0 with the LoRAs - x0 without) at step i of the span, None where the guide rests."""
        place = self._places[i]
        if not self._steering.acting[place]:
            return None
        step = self._steering.plan.steps[place]
        patcher, strengths = self._experts[step.expert]
        asked = _Asked(x, strengths)
        self._make_guider(patcher, step.cfg).sample(
            torch.zeros_like(x),
            latent["samples"],
            asked,
            torch.tensor([step.sigma, step.sigma_next], dtype=torch.float32),
            denoise_mask=latent.get("noise_mask"),
            disable_pbar=True,
            seed=seed,
        )
        return self._steering.strengths[place] * asked.change


class _Asked(comfy.samplers.Sampler):
    """A sampler of the host's that asks its model at one x, twice, and goes nowhere."""

    def __init__(self, x: Tensor, strengths: Strengths) -> None:
        self._x = x
        self._strengths = strengths
        self.change: Tensor

    def sample(
        self,
        model_wrap: Callable[..., Tensor],
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: object,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        level = sigmas[0] * self._x.new_ones(len(self._x))
        changed = model_wrap(self._x, level, **extra_args)
        with self._strengths.acting_on("none"):
            plain = model_wrap(self._x, level, **extra_args)
        self.change = changed - plain if denoise_mask is None else (changed - plain) * denoise_mask
        return changed


def _loaded_elsewhere(patcher: ModelPatcher) -> ModelPatcher:
    """Let a clone of ours be sampled without the host's loading it: it is loaded with the model that it steers."""

    def skip(
        executor: object, model: ModelPatcher, shape: object, conds: Any, *_: object, **__: object
    ) -> tuple[Any, Any, list[Any]]:
        return model.model, conds, []

    patcher.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, _KEY, skip)
    return patcher
