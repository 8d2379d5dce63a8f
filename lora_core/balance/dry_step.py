"""One dry step: how much each LoRA would change the outputs of each layer, on what the base's layers really see.

Letters: T tokens, O outputs, I inputs, R ranks, N LoRAs. Nothing is changed by it: the network runs without LoRAs, and
what they would add is computed beside it, `|B A x|` by `|W x|`, with the inner products of `gram.py` on outputs.
Dtype policy: the network in its own dtype, products in float32, sums in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import finite_number
from ..engine.request import GenerationRequest
from ..errors import PlanError
from ..experts import Expert
from ..families.base import ModelSpec
from ..families.condition import Condition
from ..families.opened import OpenedModel
from ..families.registry import family_of
from ..plan.plan import SamplingPlan
from ..plan.planning import make_plan
from ..plan.route import Route, RoutedLora
from ..progress import Progress, unheard
from ..sampling.guidance import guided_velocity
from ..sampling.noise import draw_noise
from ..wording import expert_named, said
from .gram import Gram, inner_products
from .layers import Layer, Thin, layers_of

#: Of how many tokens of a layer outputs are looked at, evenly taken from all of them.
_NUM_TOKENS = 4096


@dataclass(frozen=True, eq=False)
class DryStep:
    """What LoRAs of one expert would change of its layers' outputs.

    Attributes:
        sigma: the noise level that the network was asked at.
        gram: against the outputs of the base.
    """

    sigma: float
    gram: Gram


@torch.no_grad()
def dry_step(
    model: OpenedModel,
    route: Route,
    request: GenerationRequest,
    *,
    sigmas: Mapping[Expert, float] | None = None,
    progress: Progress = unheard,
) -> dict[Expert, DryStep]:
    """Run each expert that has LoRAs once, at a noise level of its own, and measure.

    What the experts see is the request's noise mixed with a picture that one step from pure noise predicts.

    Args:
        model: an opened model.
        route: the LoRAs.
        request: prompt, size, seed; its steps say which noise levels an expert works at.
        sigmas: the noise level of an expert; by default that of the step in the middle of its run.
        progress: told of the runs.
    """
    clip, plan = request.clip(model.spec), make_plan(Route(), model.spec, request)
    chosen = levels_to_look_at(plan, route, sigmas)
    model.require(text=True, picture=clip.first is not None)
    with model.lock:
        told = family_of(model.spec).condition(
            model, (model.encode_text(request.prompt), None), (clip.first, clip.last), clip.num_frames
        )
        condition = replace(told, fps=clip.fps).to(model.device, model.dtype)
        noise = draw_noise(clip.latent_shape, request.seed).to(model.device)
        num_runs = len(chosen) + 1
        progress(0, num_runs, "dry step")
        first = plan.steps[0]
        x0 = noise * first.sigma - first.sigma * _velocity(model, first.expert, noise * first.sigma, 1.0, condition)
        found = {}
        for done, (expert, sigma) in enumerate(chosen.items(), start=1):
            progress(done, num_runs, "dry step")
            with watched(model.expert(expert), route.for_expert(expert), model.spec) as watch:
                _velocity(model, expert, sigma * noise + (1 - sigma) * x0, sigma, condition)
            found[expert] = watch.step(sigma)
        progress(num_runs, num_runs, "dry step")
    return found


def levels_to_look_at(
    plan: SamplingPlan, route: Route, sigmas: Mapping[Expert, float] | None = None
) -> dict[Expert, float]:
    """Return expert -> noise level for those that have both LoRAs and steps, in the order of a run.

    Args:
        plan: the run.
        route: the LoRAs.
        sigmas: the noise level of an expert; by default that of the step in the middle of its run.
    """
    experts = [expert for expert in dict.fromkeys(step.expert for step in plan.steps) if route.for_expert(expert)]
    return {expert: _level(plan, expert, (sigmas or {}).get(expert)) for expert in experts}


def _velocity(model: OpenedModel, expert: Expert, x: Tensor, sigma: float, condition: Condition) -> Tensor:
    forward = family_of(model.spec).forward
    return guided_velocity(forward, model.expert(expert), model.spec, x, sigma, 1.0, condition)


def _level(plan: SamplingPlan, expert: Expert, asked: float | None) -> float:
    """Return the noise level at which an expert is looked at."""
    own = [step.sigma for step in plan.steps if step.expert == expert]
    if asked is None:
        return own[len(own) // 2]
    sigma = finite_number(asked, "sigma", PlanError)
    boundary = plan.boundary or 0.0
    low, high = (boundary, 1.0) if expert == "high_noise" else (0.0, plan.boundary or 1.0)
    if not (low <= sigma <= high and sigma > 0):
        what = said("{sigma:g} is no noise level of the {expert} expert", sigma=sigma, expert=expert_named(expert))
        expected = said("{low:g} to {high:g}", low=low, high=high)
        raise PlanError("sigma", what, expected=expected, remedy="Choose a number in that range")
    return sigma


def watched(network: nn.Module, loras: Sequence[RoutedLora], spec: ModelSpec) -> Watch:
    """Return what looks at a network, without LoRAs on it, while it runs once inside a block.

    Args:
        network: of one expert; whoever runs it.
        loras: those routed to this expert, whose changes are computed beside it.
        spec: what the model is called.
    """
    return Watch(layers_of(loras, spec, network), len(loras), network)


@dataclass(eq=False)
class Watch:
    """Hooks on the linear layers of a network while it runs once; see `watched`."""

    layers: Sequence[Layer]
    num_loras: int
    network: nn.Module
    products: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Watch:
        with ExitStack() as undo:
            for layer in self.layers:
                module = self.network.get_submodule(layer.path)
                if isinstance(module, nn.Linear):
                    undo.callback(module.register_forward_hook(self._hook(layer)).remove)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def _hook(self, layer: Layer) -> Any:
        def look(module: nn.Linear, args: tuple[Tensor, ...], output: Tensor) -> None:
            x_TI, y_TO = args[0].reshape(-1, layer.shape[1]), output.reshape(-1, layer.shape[0])
            step = -(-len(x_TI) // _NUM_TOKENS)
            y_TO = y_TO[::step].float()
            bias = getattr(module, "bias", None)
            if bias is not None and bias.is_floating_point() and bias.shape == y_TO.shape[1:]:
                y_TO = y_TO - bias.to(y_TO)
            self.norms[layer.target] = self.norms.get(layer.target, 0.0) + float(y_TO.norm()) ** 2
            there = self.products.get(layer.target, 0.0)
            self.products[layer.target] = there + _on_outputs(layer, x_TI[::step].float(), self.num_loras)

        return look

    def step(self, sigma: float) -> DryStep:
        """Return what was seen at a noise level, of layers whose outputs are not all zero."""
        seen = [layer.target for layer in self.layers if self.norms.get(layer.target, 0.0) > 0]
        none = torch.zeros(0, self.num_loras, self.num_loras, dtype=torch.float64)
        products = torch.stack([self.products[target] for target in seen]) if seen else none
        norms = torch.tensor([self.norms[target] for target in seen], dtype=torch.float64)
        return DryStep(sigma, Gram(tuple(seen), products, norms))


def _on_outputs(layer: Layer, x_TI: Tensor, num_loras: int) -> Tensor:
    """Return the inner products (N, N) of what each LoRA adds to a layer's output.

    For thin changes `<x A_1' B_1', x A_2' B_2'>` is an inner product of changes again, with `x A'` in the place of A'.
    """
    seen = {
        index: Thin((x_TI @ change.down.T).T, change.up) if isinstance(change, Thin) else change @ x_TI.T
        for index, change in layer.changes(x_TI.device).items()
    }
    return inner_products(seen, num_loras)
