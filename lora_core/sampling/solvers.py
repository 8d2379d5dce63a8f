"""The solvers that walk from noise to video, each one function, all with one signature.

Letters: x the noisy latents, x0 the clean latents a model predicts, eps noise, v the velocity a Wan network gives,
sigma the noise level in [0, 1]. Flow matching (Lipman et al. 2022, arXiv 2210.02747; Wan's choice of path) sets

    x = (1 - sigma) x0 + sigma eps        v = dx/dsigma = eps - x0        x0 = x - sigma v

and in the notation of the multistep papers alpha = 1 - sigma, lambda = log(alpha / sigma), h = the step in lambda.

A solver runs over the sigmas of ONE expert: history never crosses the switch, where the field being integrated
changes. Dtype policy: coefficients in Python floats (float64), latents in the dtype they come in (float32).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor  # a page of help names the solvers, and does not wait for torch

#: velocity(x, i) -> v at step i of the sigmas given.
Velocity = Callable[["Tensor", int], "Tensor"]
#: callback(i, x0) is told what step i predicts.
Callback = Callable[[int, "Tensor"], None]
#: noise() -> fresh eps, shaped like x.
Noise = Callable[[], "Tensor"]


class Run(Protocol):
    """An integration from sigmas[0] to sigmas[-1] that asks for one velocity per step."""

    def __call__(
        self, velocity: Velocity, x: Tensor, sigmas: Sequence[float], callback: Callback, noise: Noise
    ) -> Tensor:
        """Return x at the last sigma."""


def euler(velocity: Velocity, x: Tensor, sigmas: Sequence[float], callback: Callback, noise: Noise) -> Tensor:
    """Follow the velocity in straight steps: x_next = x + (sigma_next - sigma) v.

    diffusers, `scheduling_flow_match_euler_discrete.py`.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        v = velocity(x, i)
        callback(i, x - sigma * v)
        x = x + (sigma_next - sigma) * v
    return x


def lcm(velocity: Velocity, x: Tensor, sigmas: Sequence[float], callback: Callback, noise: Noise) -> Tensor:
    """Jump to the predicted x0 and put fresh noise on it (Song et al. 2023, arXiv 2303.01469, algorithm 1)."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x0 = x - sigma * velocity(x, i)
        callback(i, x0)
        x = (1 - sigma_next) * x0 + sigma_next * noise().to(x) if sigma_next > 0 else x0
    return x


def dpmpp_2m(velocity: Velocity, x: Tensor, sigmas: Sequence[float], callback: Callback, noise: Noise) -> Tensor:
    """Extrapolate x0 from two steps: DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2).

    x_next = sigma_next/sigma x - alpha_next (e^-h - 1) (x0 + (x0 - x0_last) h / (2 h_last)).
    First order where there is no history and in the step that ends at sigma 0, where h is infinite.
    """
    x0_last, h_last = None, math.inf
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x0 = x - sigma * velocity(x, i)
        callback(i, x0)
        h = _lambda(sigma_next) - _lambda(sigma)
        d = x0 if x0_last is None or sigma_next == 0 else x0 + (h / h_last / 2) * (x0 - x0_last)
        x = (sigma_next / sigma) * x - ((1 - sigma_next) * math.expm1(-h)) * d
        x0_last, h_last = x0, h
    return x


def unipc(velocity: Velocity, x: Tensor, sigmas: Sequence[float], callback: Callback, noise: Noise) -> Tensor:
    """Predict, then correct with the next velocity: UniPC of order 2 (Zhao et al. 2023, arXiv 2302.04867, section 3).

    Predicting x0 and with B(h) = e^h - 1, as diffusers' `scheduling_unipc_multistep.py` (solver_order 2, bh2). It still
    costs one velocity per step: the one asked for at a predicted point corrects that point, then predicts the next.
    """
    past: list[_Point] = []
    # lambda is infinite at sigma 1; diffusers steps back by this much, and so a schedule gives the same video in both.
    sigmas = [min(sigma, 1 - 1e-6) for sigma in sigmas]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x0 = x - sigma * velocity(x, i)
        callback(i, x0)
        if past:
            x = _unipc_correct(past, x0, sigma)
        past = [*past[-1:], _Point(sigma, x, x0)]
        x = _unipc_predict(past if sigma_next > 0 else past[-1:], sigma_next)
    return x


@dataclass(frozen=True)
class _Point:
    """What a multistep solver knows of one step: the corrected x, and x0 as the model saw it."""

    sigma: float
    x: Tensor
    x0: Tensor


def _unipc_predict(past: Sequence[_Point], sigma_next: float) -> Tensor:
    """Step from the last point to `sigma_next` (UniP, order = number of points)."""
    now = past[-1]
    h = _lambda(sigma_next) - _lambda(now.sigma)
    d = now.x0
    if len(past) == 2:
        r = (_lambda(past[0].sigma) - _lambda(now.sigma)) / h
        d = d + (0.5 / r) * (past[0].x0 - now.x0)
    return (sigma_next / now.sigma) * now.x - ((1 - sigma_next) * math.expm1(-h)) * d


def _unipc_correct(past: Sequence[_Point], x0: Tensor, sigma: float) -> Tensor:
    """Redo the step from the last point to `sigma`, now that `x0` there is known (UniC, order = number of points)."""
    last = past[-1]
    h = _lambda(sigma) - _lambda(last.sigma)
    d = last.x0
    if len(past) == 1:
        d = d + 0.5 * (x0 - last.x0)
    else:
        r = (_lambda(past[0].sigma) - _lambda(last.sigma)) / h
        # The paper's R rho = b for two unknowns: rho_1 + rho_2 = b_1 and r rho_1 + rho_2 = b_2.
        phi_2 = (math.expm1(-h) / -h - 1) / math.expm1(-h)
        phi_3 = 2 * ((math.expm1(-h) / -h - 1) / -h - 0.5) / math.expm1(-h)
        rho_1 = (phi_2 - phi_3) / (1 - r)
        d = d + (rho_1 / r) * (past[0].x0 - last.x0) + (phi_2 - rho_1) * (x0 - last.x0)
    return (sigma / last.sigma) * last.x - ((1 - sigma) * math.expm1(-h)) * d


def _lambda(sigma: float) -> float:
    """Compute half the log signal-to-noise ratio: log((1 - sigma) / sigma), infinite at both ends."""
    if sigma <= 0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1 else -math.inf


@dataclass(frozen=True)
class Solver:
    """A way to integrate; a multistep one remembers earlier steps, and so forgets them at the switch."""

    name: str
    run: Run
    multistep: bool
    about: str


SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Solver("euler", euler, False, "one straight step at a time; what distilled few-step LoRAs are made for"),
        Solver("unipc", unipc, True, "predictor and corrector of order 2; the usual choice for many steps"),
        Solver("dpmpp_2m", dpmpp_2m, True, "DPM-Solver++ of order 2"),
        Solver("lcm", lcm, False, "fresh noise at every step; for consistency-distilled LoRAs"),
    )
}
