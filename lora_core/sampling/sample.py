"""Walk a plan from noise to latents: one span per expert, LoRAs attached once per span, strengths set at every step.

Letters: B batch, C latent channels, F latent frames, H W latent height and width; x and x0 as in `solvers.py`.
Dtype policy: float32 throughout; the networks compute in their own dtype inside their family's `forward.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from ..apply.attachment import attach
from ..attention.controller import RadialController, check_controller
from ..checks import known, typed
from ..errors import PlanError, RequestError
from ..experts import Expert
from ..families.condition import Condition
from ..families.opened import Networks
from ..families.registry import family_of
from ..plan.plan import SamplingPlan, StepPlan
from ..wording import said
from .context_parallel import ContextParallel
from .guidance import guided_velocity
from .guide import GuideNetworks, GuideWalk, check_guide_networks
from .noise import noise_stream
from .solvers import SOLVERS, Solver

#: Told after each prediction of the step's index, the number of steps, and x0 as raw latents; may raise to cancel.
StepCallback = Callable[[int, int, Tensor], None]


@typed(RequestError)
@torch.no_grad()
def sample(
    experts: Networks,
    plan: SamplingPlan,
    noise: Tensor,
    condition: Condition,
    *,
    start: Tensor | None = None,
    solver: str = "euler",
    seed: int = 0,
    guide: GuideNetworks | None = None,
    radial: RadialController | None = None,
    parallel: ContextParallel | None = None,
    masks: Mapping[str, Tensor] | None = None,
    callback: StepCallback | None = None,
) -> Tensor:
    """Denoise along `plan` and return raw float32 latents (B, C, F, H, W) on the CPU.

    However this ends, by an error, Ctrl-C or the callback raising, nothing stays attached to a network. Threads that
    sample with the same experts take turns. A plan that
    leaves noise over gives latents as ComfyUI hands them on: divided by 1 - sigma, to be started from with noise zero.

    Args:
        experts: the networks, such as an opened model.
        plan: the steps, and the LoRAs routed to each expert.
        noise: (B, C, F, H, W) standard normal, as `draw_noise` gives it; zeros where `start` is noisy already.
        condition: text and picture.
        start: raw latents shaped like `noise`, for a plan whose first sigma is below 1; None or all zeros for none.
        solver: a key of `SOLVERS`.
        seed: of the noise that a solver adds on its way (lcm).
        guide: the small model that steers, for a plan with `steering`.
        radial: lets self-attention leave pairs out; made for the whole plan, of which this one may be a part. A guide
            with networks of its own stays dense.
        parallel: the processes that compute the networks together; each returns the same latents. Without a guide.
        masks: name -> mask (latent frames, rows and columns of tokens) of every LoRA that has a region or a time, as
            `regions.clip_masks` makes them. In one process.
        callback: called as `callback(step, num_steps, x0)`.
    """
    chosen = SOLVERS[known(solver, SOLVERS, "solver", RequestError)]
    _check(plan, noise, condition, start)
    _check_masks(plan, masks or {}, parallel)
    check_guide_networks(experts, plan.steering, guide)
    if radial is not None:
        check_controller(radial, noise.shape, plan.steps[-1].index)
    with ExitStack() as held:
        for lock in _locks(experts, guide):
            held.enter_context(lock)
        x = _noised(experts, noise, start, plan.steps[0].sigma).to(experts.device)
        condition = condition.to(experts.device, experts.dtype)
        beside = None
        if guide is not None and plan.steering is not None:
            beside = held.enter_context(GuideWalk(guide, plan.steering))
        fresh = noise_stream(tuple(noise.shape), seed)
        walk = _Walk(experts, plan, condition, chosen, fresh, beside, radial, parallel, masks or {}, callback)
        for expert, steps in spans(plan):
            x = walk.span(expert, steps, x)
        return walk.to_raw(x / (1 - plan.steps[-1].sigma_next))


def spans(plan: SamplingPlan) -> list[tuple[Expert, list[StepPlan]]]:
    """Return the runs of steps that share an expert, in order."""
    return [(expert, list(steps)) for expert, steps in groupby(plan.steps, key=lambda step: step.expert)]


def history_resets(plan: SamplingPlan, solver: str) -> list[int]:
    """Return the steps before which a multistep solver forgets its history: those where the expert changes."""
    return [steps[0].index for _, steps in spans(plan)[1:]] if SOLVERS[solver].multistep else []


@dataclass(frozen=True, eq=False)
class _Walk:
    """What stays the same from the first step to the last."""

    experts: Networks
    plan: SamplingPlan
    condition: Condition
    solver: Solver
    fresh_noise: Callable[[], Tensor]
    guide: GuideWalk | None
    radial: RadialController | None
    parallel: ContextParallel | None
    masks: Mapping[str, Tensor]
    callback: StepCallback | None

    def span(self, expert: Expert, steps: list[StepPlan], x: Tensor) -> Tensor:
        """Run the steps of one expert on normalised latents x."""
        network, spec = self.experts.expert(expert), self.experts.spec
        forward = family_of(spec).forward
        loras, radial = self.plan.route.for_expert(expert), self.radial
        shared = nullcontext() if self.parallel is None else self.parallel.on(network, spec)
        dense = nullcontext() if radial is None else radial.on(network)
        masks = {lora.name: self.masks[lora.name] for lora in loras if lora.name in self.masks}
        with shared, attach(network, loras, spec, masks=masks) as attachment, dense:

            def velocity(x: Tensor, i: int) -> Tensor:
                attachment.set_strengths(steps[i].strengths)
                if radial is not None:
                    radial.at_step(steps[i].index)
                v = guided_velocity(forward, network, spec, x, steps[i].sigma, steps[i].cfg, self.condition)
                place = steps[i].index - self.plan.steps[0].index
                return v if self.guide is None or not self.guide.acts(place) else v + self.guide.change(x, place)

            sigmas = [step.sigma for step in steps] + [steps[-1].sigma_next]
            return self.solver.run(velocity, x, sigmas, lambda i, x0: self.report(steps[i], x0), self.fresh_noise)

    def report(self, step: StepPlan, x0: Tensor) -> None:
        if self.callback is not None:
            self.callback(step.index - self.plan.steps[0].index, self.plan.num_steps, self.to_raw(x0))

    def to_raw(self, x: Tensor) -> Tensor:
        return self.experts.denormalise(self.condition.keep_known(x)).cpu()


def _locks(experts: Networks, guide: GuideNetworks | None) -> list[AbstractContextManager[object]]:
    """Return the locks to hold, in an order that is the same whichever model steers the other."""
    held = [experts.lock] if guide is None else [experts.lock, guide.experts.lock]
    return sorted(held, key=id)


def _noised(experts: Networks, noise: Tensor, start: Tensor | None, sigma: float) -> Tensor:
    """Mix noise and start latents as the first sigma says; all-zero start latents are ComfyUI's way to say none."""
    if start is None or not start.any():
        return sigma * noise
    return sigma * noise + (1 - sigma) * experts.normalise(start.float())


def _check_masks(plan: SamplingPlan, masks: Mapping[str, Tensor], parallel: ContextParallel | None) -> None:
    """Raise unless every LoRA that acts in a part of the clip has its mask, where masks can act."""
    loras = {lora.name: lora for lora in plan.route.all}
    if lost := [name for name, lora in loras.items() if lora.is_masked and name not in masks]:
        what = said("{name} has a region or a time, and no mask", name=lost[0])
        raise RequestError("masks", what, remedy="Make them with clip_masks(plan.route.all, clip, spec)")
    if strange := [name for name in masks if name not in loras]:
        what = said("there is one for {name}", name=strange[0])
        raise RequestError("masks", what, expected=", ".join(loras) or "none", remedy="Leave it out")
    if masks and parallel is not None:
        what = said("several processes do not compute one clip with LoRAs that have a region or a time")
        raise RequestError("masks", what, remedy="Take regions and times off the stack, or run in one process")


def _check(plan: SamplingPlan, noise: Tensor, condition: Condition, start: Tensor | None) -> None:
    if start is not None and start.shape != noise.shape:
        what, expected = f"their shape is {tuple(start.shape)}", f"{tuple(noise.shape)}, that of the noise"
        raise RequestError("start latents", what, expected=expected, remedy="Give latents of that size")
    if plan.guided_steps and condition.negative is None:
        first = plan.guided_steps[0]
        what = f"step {first.index} has cfg {first.cfg:g} and no negative prompt is embedded"
        raise PlanError("cfg", what, remedy="Embed a negative prompt, if only an empty one, or use cfg 1")
