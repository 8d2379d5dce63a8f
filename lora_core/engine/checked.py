"""A request against a model and a stack: everything that can be known to be wrong, before a network runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..attention.controller import RadialController, make_controller
from ..attention.executors import choose_executor
from ..attention.settings import RadialSettings
from ..attention.wishes import RadialWishes
from ..checks import typed
from ..errors import RequestError, StackError
from ..families.base import ModelSpec
from ..families.opened import OpenedModel
from ..plan.plan import SamplingPlan
from ..plan.planning import make_plan
from ..plan.steering import steered
from ..refiner.refined import Refiner
from ..regions.clip_mask import ClipSize, clip_masks
from ..sampling.context_parallel import ContextParallel, check_processes
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from .guide import Guide
from .request import Clip, GenerationRequest


@dataclass(frozen=True, eq=False)
class CheckedRequest:
    """A request that can be run as it is.

    Attributes:
        clip: what it comes to, its pictures read.
        loaded: its LoRAs, read for the model.
        guide: with its own stack read.
        radial: what lets self-attention leave pairs out; None for dense attention.
        masks: name -> mask over the clip's tokens, of LoRAs that have a region or a time.
    """

    clip: Clip
    loaded: LoadedStack
    plan: SamplingPlan
    guide: Guide | None
    radial: RadialController | None
    masks: Mapping[str, Tensor]


def check_request(
    model: OpenedModel,
    request: GenerationRequest,
    stack: LoraStack | LoadedStack | None = None,
    *,
    allow_partial: bool = False,
    download: bool = False,
    guide: Guide | None = None,
    radial: RadialSettings | RadialWishes | None = None,
    parallel: ContextParallel | None = None,
    refiner: Refiner | None = None,
) -> CheckedRequest:
    """Read what a request names and plan its run, or say what is wrong with it; arguments as those of `generate`."""
    clip = request.clip(model.spec)
    loaded = _loaded(stack, model.spec, allow_partial=allow_partial, download=download)
    plan = make_plan(loaded, model.spec, request).over(clip.num_frames, clip.fps)
    masks = clip_masks(plan.route.all, size_of(clip), model.spec)
    if guide is not None:
        own = _loaded(guide.stack, guide.model.spec, allow_partial=allow_partial, download=download)
        guide = replace(guide, stack=own)
        plan = steered(plan, model.spec, guide.model.spec, own, request, guide.settings)
    controller = None if radial is None else _controller(model, clip, plan, radial)
    _check_latents_act(request, plan)
    _require_pieces(model, guide, clip)
    if parallel is not None:
        beside = {"guide": guide, "radial": radial, "refiner": refiner, "region": masks or None}
        _check_parallel(model, clip, plan, parallel, beside=beside)
    return CheckedRequest(clip, loaded, plan, guide, controller, masks)


def size_of(clip: Clip) -> ClipSize:
    """Return the numbers of a clip that masks are made for."""
    return ClipSize(clip.num_frames, clip.height, clip.width, clip.fps)


@typed(RequestError)
def plan_request(
    spec: ModelSpec, request: GenerationRequest, stack: LoraStack | LoadedStack, *, allow_partial: bool = False
) -> SamplingPlan:
    """Return the plan that a request and a stack make for a model, without running it."""
    return make_plan(_loaded(stack, spec, allow_partial=allow_partial), spec, request)


def _loaded(stack: LoraStack | LoadedStack | None, spec: ModelSpec, **reading: bool) -> LoadedStack:
    """Return the stack, loaded with what was asked of its reading: allow_partial, download."""
    if not isinstance(stack, LoadedStack):
        return load_stack(stack or LoraStack(), spec, **reading)  # type: ignore[arg-type]  # mypy takes any argument for one
    if (asked := next((name for name, wanted in reading.items() if wanted), None)) is not None:
        raise StackError(asked, "the stack is loaded already", remedy="Give it to load_stack")
    return stack


def _controller(
    model: OpenedModel, clip: Clip, plan: SamplingPlan, radial: RadialSettings | RadialWishes
) -> RadialController:
    """Return what radial attention is in this run, which the model's device can compute."""
    if isinstance(radial, RadialWishes):
        radial = radial.settings(model.spec, clip.latent_shape[2])
    choose_executor(radial.executor, model.device)
    return make_controller(model.spec, clip.latent_shape, plan.num_steps, radial)


def _require_pieces(model: OpenedModel, guide: Guide | None, clip: Clip) -> None:
    """Raise unless the models have all pieces that the clip takes."""
    model.require(text=True, vae=True, picture=clip.first is not None)
    if guide is not None and guide.takes_pictures and clip.first is not None:
        guide.model.require(vae=True, picture=True)


def _check_parallel(
    model: OpenedModel, clip: Clip, plan: SamplingPlan, parallel: ContextParallel, beside: Mapping[str, object]
) -> None:
    """Raise unless the processes can share the clip out, with nothing beside it that was never tried with several."""
    for name, given in beside.items():
        if given is not None:
            what = "several processes do not compute one clip with it"
            raise RequestError(name, what, remedy="Leave it out, or run in one process")
    network = model.at_rest(plan.steps[0].expert).module
    check_processes(network, model.spec, clip.latent_shape, model.max_tokens, parallel.num_processes)


def _check_latents_act(request: GenerationRequest, plan: SamplingPlan) -> None:
    if request.latents is not None and plan.sigmas[0] == 1:
        what = "the first step, at sigma 1, puts nothing but noise in their place"
        raise RequestError("latents", what, remedy="Lower denoise, or leave them out")
