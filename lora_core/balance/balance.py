"""The balance of a stack: measured on every expert, what is wrong named, better strengths proposed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ..checks import typed
from ..engine.request import GenerationRequest
from ..errors import StackError
from ..experts import EXPERTS, Expert
from ..families.opened import OpenedModel
from ..plan.advice import Advice
from ..plan.route import Route
from ..plan.routing import route
from ..progress import Progress, unheard
from ..stack.loaded import LoadedStack
from ..wording import Said
from .dry_step import DryStep, dry_step
from .expert_balance import ExpertBalance, measure_expert
from .findings import find
from .proposal import Proposal, propose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StackBalance:
    """What is known of how the LoRAs of a stack go together.

    Attributes:
        experts: those that LoRAs act on.
        findings: what is wrong, by name.
        proposal: strengths before and after.
    """

    loaded: LoadedStack
    experts: Mapping[Expert, ExpertBalance]
    findings: tuple[Advice, ...]
    proposal: Proposal

    @cached_property
    def proposed(self) -> LoadedStack:
        """The stack with the proposed strengths; nothing is read again."""
        return self.loaded.with_settings(self.proposal.apply_to(self.loaded.stack))

    def text(self) -> Said:
        """Return the report for people."""
        from .report import report

        return report(self)

    def figure(self) -> Figure:
        """Draw the conflict map into a matplotlib figure of its own."""
        from .plot import draw_balance

        return draw_balance(self)

    def image(self) -> np.ndarray:
        """Draw the conflict map into an array (height, width, 3) of uint8."""
        from ..media.figures import figure_image

        return figure_image(self.figure())

    def save_map(self, path: str | Path) -> Path:
        """Draw the conflict map into a .png, .svg or .pdf file."""
        from ..media.figures import save_figure

        return save_figure(self.figure(), path)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "model": self.loaded.spec.title,
            "experts": {expert: _expert_dict(balance) for expert, balance in self.experts.items()},
            "findings": [advice.to_dict() for advice in self.findings],
            "proposal": self.proposal.to_dict(),
        }


@typed(StackError)
def balance_stack(
    stack: LoadedStack,
    model: OpenedModel | Mapping[Expert, nn.Module] | None = None,
    *,
    request: GenerationRequest | None = None,
    sigmas: Mapping[Expert, float] | None = None,
    stepped: Mapping[Expert, DryStep] | None = None,
    progress: Progress | None = None,
) -> StackBalance:
    """Measure how large the changes of a stack are and how they meet, name what is wrong, and propose strengths.

    Args:
        stack: the LoRAs, read for the model.
        model: an opened model, or the networks of its experts; None to compare the LoRAs with each other alone.
        request: take one dry step with this prompt, size and seed, and go by what changes in the outputs of layers;
            for an opened model.
        sigmas: the noise level of an expert's dry step.
        stepped: what a dry step has shown already, in the place of `request`; of networks that others run.
        progress: told of layers and dry steps.

    Raises:
        StackError: nothing of the stack acts on the model.
    """
    routed, spec, report = route(stack, stack.spec), stack.spec, progress or unheard
    if not routed.all:
        raise StackError("stack", "no LoRA of it acts", expected="one LoRA or more", remedy="Add one, or turn one on")
    if stepped is None:
        stepped = {} if request is None else _stepped(model, routed, request, sigmas, report)
    elif request is not None:
        raise StackError("dry step", "it is taken already", remedy="Leave out the request, or what was shown")
    experts = {
        expert: measure_expert(
            expert, loras, spec, _network(model, expert), outputs=stepped.get(expert), progress=report
        )
        for expert in EXPERTS
        if (loras := routed.for_expert(expert))
    }
    grams = {expert: balance.gram for expert, balance in experts.items()}
    proposal = propose(grams, {expert: balance.loras for expert, balance in experts.items()})
    findings = find(experts, proposal)
    _log.info("balance of %d LoRAs: %d findings", len(stack.loras), len(findings))
    return StackBalance(stack, experts, findings, proposal)


def _stepped(
    model: OpenedModel | Mapping[Expert, nn.Module] | None,
    routed: Route,
    request: GenerationRequest,
    sigmas: Mapping[Expert, float] | None,
    progress: Progress,
) -> dict[Expert, DryStep]:
    if model is None or isinstance(model, Mapping):
        raise StackError("dry step", "there is no opened model to take it with", remedy="Open one, or leave it out")
    return dry_step(model, routed, request, sigmas=sigmas, progress=progress)


def _network(model: OpenedModel | Mapping[Expert, nn.Module] | None, expert: Expert) -> nn.Module | None:
    """Return the network of an expert, at rest where it is an opened model's."""
    if model is None:
        return None
    return model[expert] if isinstance(model, Mapping) else model.at_rest(expert).module


def _expert_dict(balance: ExpertBalance) -> dict[str, Any]:
    gram, strengths, outputs = balance.weights, balance.strengths, balance.outputs
    seen = {}
    if outputs is not None:
        sizes = outputs.gram.sizes(strengths).tolist()
        seen = {"outputs": {"sigma": outputs.sigma, "sizes": sizes, "alignment": _cosines(balance, of_outputs=True)}}
    return {
        "loras": [
            {"name": lora.name, "purpose": lora.weights.purpose, "strength": lora.peak, "size": size}
            for lora, size in zip(balance.loras, gram.sizes(strengths).tolist(), strict=True)
        ],
        "sizes_by_base": balance.has_base,
        "num_matrices": len(gram.targets),
        "num_left_out": balance.num_left_out,
        "together": balance.together(),
        "amplification": gram.amplification(strengths),
        "alignment": _cosines(balance),
        "closest": [asdict(closest) for closest in balance.closest],
        **seen,
        "layers": dict(zip(gram.targets, gram.layer_sizes(strengths).tolist(), strict=True)),
    }


def _cosines(balance: ExpertBalance, *, of_outputs: bool = False) -> list[list[float]]:
    gram = balance.outputs.gram if of_outputs and balance.outputs is not None else balance.weights
    cosines: list[list[float]] = balance.alignment(gram).tolist()
    return cosines
