"""The walk of a plan through ComfyUI's own sampling: one guider per span, `lora_core`'s solver inside.

ComfyUI's guider does what it does for its own samplers: it loads the model, honours everything conditioning can carry,
masks, hooks, wrappers, interrupts. A span is a run of steps that share an expert. The noisy latents pass from span
to span as they are, while the latents and the noise that the walk began with stay with each guider: they are what a
noise mask puts back where it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..lora_core import SOLVERS, RequestError, SamplingPlan, StepPlan
from ..lora_core.sampling.noise import NoiseStream
from ..lora_core.sampling.sample import AtSwitch, left_from
from ..lora_core.sampling.solvers import Solver
from ..lora_core.wording import said
from .bridge import bind, with_shift
from .guide_walk import GuideWalk
from .radial_override import HostRadial
from .sockets import WanModelHandle

Conditioning = Sequence[Any]
Latent = Mapping[str, Any]
#: (x, step of the span) -> what a guide adds to x0, or None.
GuideChange = Callable[[Tensor, int], Tensor | None]

_RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")


@dataclass(frozen=True, eq=False)
class Request:
    """A walk that is asked for: its plan, conditioning, latents and noise.

    Attributes:
        negative: needed where a step has guidance other than 1, a guide's own included.
        sigmas: the noise levels of the whole run, of which `plan` may be a part.
        shift: of the schedule, for conditioning that is limited to a part of the steps.
        add_noise: False where the latent holds noise already.
        force_full_denoise: end at noise level 0, wherever the plan ends.
        radial: lets self-attention leave pairs of tokens out, through both experts.
    """

    plan: SamplingPlan
    positive: Conditioning
    negative: Conditioning | None
    latent: Latent
    seed: int
    solver: str
    sigmas: tuple[float, ...]
    shift: float
    add_noise: bool = True
    force_full_denoise: bool = True
    radial: HostRadial | None = None


def walk(
    model: WanModelHandle,
    request: Request,
    *,
    num_done: int = 0,
    num_total: int | None = None,
    at_switch: AtSwitch | None = None,
    on_switch: Callable[[AtSwitch], None] = lambda at_switch: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sample, and return the LATENT and the LATENT last predicted to be free of noise.

    Of several walks in a row, `num_done` steps came before this one and `num_total` make the whole, for its progress.
    One whose beginning is another's goes on from where that stood `at_switch`, as `on_switch` was told.
    """
    _check(request)
    first = model.expert(request.plan.steps[0].expert)
    # How an empty latent of another family would have to be resized; no property of the result.
    ratios = {key: request.latent[key] for key in _RATIOS if key in request.latent}
    latent = {key: value for key, value in request.latent.items() if key not in _RATIOS}
    samples = comfy.sample.fix_empty_latent_channels(first, latent["samples"], **ratios)
    noise = _noise(samples, request)
    progress = Progress(first, num_total or request.plan.num_steps)
    left = left_from(request.plan, at_switch)
    fresh = NoiseStream(tuple(samples.shape), request.seed, 0 if at_switch is None else at_switch.num_drawn)
    sampler = SpanSampler(SOLVERS[request.solver], fresh, None if at_switch is None else at_switch.x)
    for expert, steps in left:
        if steps[0].index > left[0][1][0].index and sampler.x is not None:
            on_switch(AtSwitch(steps[0].index, sampler.x.cpu(), fresh.num_drawn))
        patcher = bind(model.expert(expert), request.plan.route.for_expert(expert), model.spec, request.sigmas)
        patcher = with_shift(patcher, request.shift)
        if request.radial is not None:
            patcher = request.radial.on(patcher)
        sampler.guide = _guide(model, request, steps, {**latent, "samples": samples}, patcher)
        sampled = _guider(patcher, request, steps[0].cfg).sample(
            noise,
            samples,
            comfy.samplers.KSAMPLER(sampler.run),
            _levels(steps, request),
            denoise_mask=latent.get("noise_mask"),
            callback=progress.callback(num_done + steps[0].index - left[0][1][0].index),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=request.seed,
        )
    device = comfy.model_management.intermediate_device()
    denoised = first.model.process_latent_out(progress.x0.cpu())
    return {**latent, "samples": sampled.to(device)}, {**latent, "samples": denoised.to(device)}


def _guide(
    model: WanModelHandle, request: Request, steps: Sequence[StepPlan], latent: Latent, patcher: ModelPatcher
) -> GuideChange | None:
    """Return what a guide adds at each step of a span, loaded together with the MODEL of the span; None without one."""
    if model.guide is None or request.plan.steering is None:
        return None
    places = [step.index - request.plan.steps[0].index for step in steps]
    guide = GuideWalk(
        model.guide,
        request.plan.steering,
        places,
        request.sigmas,
        request.shift,
        lambda own, cfg: _guider(own, request, cfg),
    )
    guide.load_with(patcher)
    return lambda x, i: guide.change(x, i, request.seed, latent)


class Progress:
    """The progress of the whole walk, with a preview, whichever expert is at work."""

    def __init__(self, patcher: ModelPatcher, num_steps: int) -> None:
        self._bar = comfy.utils.ProgressBar(num_steps)
        self._num_steps = num_steps
        self._previewer = latent_preview.get_previewer(patcher.load_device, patcher.model.latent_format)
        self.x0: Tensor

    def callback(self, num_done: int) -> Callable[[int, Tensor, Tensor, int], None]:
        """Return what a guider calls after each of its steps, when `num_done` steps came before."""

        def step_done(i: int, x0: Tensor, x: Tensor, num_steps: int) -> None:
            self.x0 = x0
            preview = self._previewer.decode_latent_to_preview_image("JPEG", x0) if self._previewer else None
            self._bar.update_absolute(num_done + i + 1, self._num_steps, preview)

        return step_done


def _check(request: Request) -> None:
    guided, steering = request.plan.guided_steps, request.plan.steering
    if guided and request.negative is None:
        remedy = "Connect a negative prompt, if only an empty one, or set cfg to 1"
        raise RequestError(
            "Sampler6Step", said("cfg {cfg:g} without a negative prompt", cfg=guided[0].cfg), remedy=remedy
        )
    if steering is not None and steering.is_guided and request.negative is None:
        remedy = "Connect a negative prompt, if only an empty one, or set the guide's cfg to 1"
        raise RequestError("SteerByModel", "the guide's cfg is not 1 and there is no negative prompt", remedy=remedy)
    for name, conditioning in (("positive", request.positive), ("negative", request.negative)):
        if conditioning is not None and not conditioning:
            raise RequestError(
                "Sampler6Step",
                said("the {name} conditioning is empty", name=name),
                expected="at least one prompt",
                remedy="Connect a prompt",
            )


def _noise(samples: Tensor, request: Request) -> Tensor:
    if not request.add_noise:
        return comfy.sample.prepare_empty_noise(samples)
    return comfy.sample.prepare_noise(samples, request.seed, request.latent.get("batch_index"))


def _guider(patcher: ModelPatcher, request: Request, cfg: float) -> comfy.samplers.CFGGuider:
    """Return the host's guider; without guidance a negative prompt is left out, as the host itself does then."""
    guider = comfy.samplers.CFGGuider(patcher)
    conds = {"positive": request.positive}
    if request.negative is not None:
        conds["negative"] = request.negative
    guider.inner_set_conds(conds)
    guider.set_cfg(cfg)
    return guider


class SpanSampler:
    """One of our solvers as a sampler of the host's, span after span, each from where the last left off.

    Args:
        fresh_noise: draws the noise that a solver adds on its way.
        x: where another run stands that this one goes on from, or None.
    """

    def __init__(self, solver: Solver, fresh_noise: Callable[[], Tensor], x: Tensor | None = None) -> None:
        self._solver = solver
        self._fresh_noise = fresh_noise
        self.guide: GuideChange | None = None
        self.x = x

    def run(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Callable[[dict[str, Any]], None],
        disable: bool,
    ) -> Tensor:
        """Sample as a sampler function of the host does: given x at the first sigma, and a model that predicts x0."""
        batch = x.new_ones(len(x))
        last: dict[str, Tensor] = {}

        def velocity(x: Tensor, i: int) -> Tensor:
            x0 = model(x, sigmas[i] * batch, **extra_args)
            if self.guide is not None and (change := self.guide(x, i)) is not None:
                x0 = x0 + change.to(x0)
            last.update(x=x, x0=x0)
            return (x - x0) / sigmas[i]

        def report(i: int, x0: Tensor) -> None:
            callback({"x": last["x"], "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": last["x0"]})

        start = x if self.x is None else self.x.to(x)
        self.x = self._solver.run(velocity, start, sigmas.tolist(), report, self._fresh_noise)
        return self.x


def _levels(steps: Sequence[StepPlan], request: Request) -> Tensor:
    """Return the noise levels of one span."""
    is_last = steps[-1].index == request.plan.steps[-1].index
    end = 0.0 if is_last and request.force_full_denoise else steps[-1].sigma_next
    return torch.tensor([*(step.sigma for step in steps), end], dtype=torch.float32)
