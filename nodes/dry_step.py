"""A dry step in the host: each expert runs once without LoRAs, and what they would add is computed beside it."""

from __future__ import annotations

from dataclasses import dataclass

from ..lora_core import Expert, RequestError, Route, RunSettings, make_plan
from ..lora_core.balance.dry_step import DryStep, levels_to_look_at, watched
from ..lora_core.wording import said
from .bridge import network_of
from .sockets import WanModelHandle
from .walk import Conditioning, Latent, Request, walk

_SEED = 0


def host_dry_step(
    model: WanModelHandle, positive: Conditioning | None, latent: Latent | None
) -> dict[Expert, DryStep] | None:
    """Return what the LoRAs of a model would change in the outputs of its layers; None where nothing is connected.

    As headless: one step from pure noise predicts a picture, which each expert then sees at a noise level of its own.

    Raises:
        RequestError: a prompt without a latent, or the other way round.
    """
    if positive is None and latent is None:
        return None
    if positive is None or latent is None:
        there, missing = ("latent", "positive") if positive is None else ("positive", "latent")
        what = said("{there} does nothing without {missing}", there=there, missing=missing)
        raise RequestError("LoraBalance", what, remedy="Connect both for a dry step, or none")
    route, plan = model.route(), make_plan(Route(), model.spec, model.settings)
    chosen = levels_to_look_at(plan, route)
    runs = _Runs(model, positive, len(chosen) + 1)
    picture = runs.predicted(plan.steps[0].sigma, latent, num_done=0)
    found = {}
    for num_done, (expert, sigma) in enumerate(chosen.items(), start=1):
        with watched(network_of(model.expert(expert)), route.for_expert(expert), model.spec) as watch:
            runs.predicted(sigma, picture, num_done=num_done)
        found[expert] = watch.step(sigma)
    return found


@dataclass(frozen=True)
class _Runs:
    """Single steps of a model without its LoRAs."""

    model: WanModelHandle
    positive: Conditioning
    num_total: int

    def predicted(self, sigma: float, latent: Latent, *, num_done: int) -> Latent:
        """Return the LATENT that the expert of a noise level predicts of one with that much noise."""
        settings = RunSettings(sigmas=(sigma, 0.0), boundary=self.model.settings.boundary)
        plan, shift = make_plan(Route(), self.model.spec, settings), self.model.settings.shift
        asked = Request(plan, self.positive, None, latent, _SEED, "euler", plan.sigmas, shift)
        _, denoised = walk(self.model, asked, num_done=num_done, num_total=self.num_total)
        return denoised
