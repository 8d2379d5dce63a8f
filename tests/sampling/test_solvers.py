"""The solvers against a float64 loop, against diffusers' schedulers, and against a field whose solution is known."""

import math
from itertools import pairwise

import pytest
import torch

from lora_core.sampling.solvers import SOLVERS

SIGMAS = [0.98, 0.96154, 0.90909, 0.83333, 0.71429, 0.5, 0.0]  # six steps at shift 5, starting just below 1
MEAN, SPREAD = 0.7, 0.4


def gaussian_velocity(x, sigma):
    """Return the exact velocity where clean data are normal(MEAN, SPREAD): the field is linear in x."""
    variance = (1 - sigma) ** 2 * SPREAD**2 + sigma**2
    slope = (sigma - (1 - sigma) * SPREAD**2) / variance
    return slope * (x - (1 - sigma) * MEAN) - MEAN


def gaussian_solution(x, sigma, sigma_end):
    """Return where the exact path of that field, at x for sigma, stands at sigma_end."""
    width, width_end = (math.sqrt((1 - s) ** 2 * SPREAD**2 + s**2) for s in (sigma, sigma_end))
    return (1 - sigma_end) * MEAN + (x - (1 - sigma) * MEAN) * width_end / width


def curved_velocity(x, sigma):
    """Return a field that is linear in nothing, for comparing implementations."""
    return torch.sin(2 * x) * (1 + sigma) - 0.3 * x + torch.flip(x, [-1]) * (0.5 - sigma)


def solve(name, field, x, sigmas, callback=lambda i, x0: None, noise=lambda: None):
    return SOLVERS[name].run(lambda x, i: field(x, sigmas[i]), x, sigmas, callback, noise)


def start(seed=0, dtype=torch.float32):
    return torch.randn(1, 4, 2, 6, 6, generator=torch.Generator().manual_seed(seed)).to(dtype)


def diffusers_solve(scheduler, x, noise_seed=None):
    """Run a diffusers scheduler over its own sigmas with the curved field."""
    extra = {} if noise_seed is None else {"generator": torch.Generator().manual_seed(noise_seed)}
    for sigma, timestep in zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False):
        x = scheduler.step(curved_velocity(x, sigma), timestep, x, return_dict=False, **extra)[0]
    return x


def test_euler_equals_a_plain_float64_loop():
    x = start()
    expected = x.double()
    for sigma, sigma_next in pairwise(SIGMAS):
        expected = expected + (sigma_next - sigma) * curved_velocity(expected, sigma)
    assert (solve("euler", curved_velocity, x, SIGMAS).double() - expected).abs().max() < 1e-5
    assert torch.equal(solve("euler", curved_velocity, x.double(), SIGMAS), expected)


def test_euler_equals_diffusers():
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=SIGMAS[:-1])
    expected = diffusers_solve(scheduler, start())
    assert (solve("euler", curved_velocity, start(), SIGMAS) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("first", "tolerance"), [(0.98, 2e-5), (1.0, 2e-3)])
def test_unipc_equals_diffusers(first, tolerance):
    """At sigma 1 diffusers takes 1 - 1e-6 and its log from float32, 1 % off; hence the wider bound there."""
    from diffusers import UniPCMultistepScheduler

    sigmas = [first, *SIGMAS[1:]]
    scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=1.0)
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = torch.tensor(sigmas).clamp(max=1 - 1e-6)  # 0.36 takes no sigmas; no timestep of its own is read
    scheduler.set_begin_index(0)
    expected = diffusers_solve(scheduler, start())
    assert (solve("unipc", curved_velocity, start(), sigmas) - expected).abs().max() < tolerance


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own, in its schedule
@pytest.mark.parametrize("first", [0.98, 1.0])
def test_dpmpp_2m_equals_diffusers(first):
    from diffusers import DPMSolverMultistepScheduler

    sigmas = [first, *SIGMAS[1:]]
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = torch.tensor(sigmas)  # it takes no sigmas of ours; its integer timesteps are never read
    scheduler.set_begin_index(0)
    expected = diffusers_solve(scheduler, start())
    assert (solve("dpmpp_2m", curved_velocity, start(), sigmas) - expected).abs().max() < 1e-5


def test_lcm_equals_diffusers_fed_the_same_noise():
    from diffusers.schedulers.scheduling_flow_match_lcm import FlowMatchLCMScheduler

    scheduler = FlowMatchLCMScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=SIGMAS[:-1])
    expected = diffusers_solve(scheduler, start(), noise_seed=5)
    generator = torch.Generator().manual_seed(5)
    found = solve(
        "lcm", curved_velocity, start(), SIGMAS, noise=lambda: torch.randn(start().shape, generator=generator)
    )
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("dpmpp_2m", 2), ("unipc", 2)])
def test_halving_the_steps_of_a_known_field_divides_the_error_by_two_to_the_order(name, order):
    x = start(dtype=torch.float64)
    errors = []
    for num_steps in (64, 128):
        sigmas = torch.linspace(0.95, 0.05, num_steps + 1, dtype=torch.float64).tolist()
        error = solve(name, gaussian_velocity, x, sigmas) - gaussian_solution(x, sigmas[0], sigmas[-1])
        errors.append(float(error.abs().max()))
    assert math.log2(errors[0] / errors[1]) > order - 0.2


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_reaches_the_known_solution(name):
    sigmas = [1 - i / 400 for i in range(401)]
    x = start(dtype=torch.float64)
    if name == "lcm":  # it forgets where it came from: its end is distributed as the data, not tied to x
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(1, 4, 8, 32, 32, generator=generator, dtype=torch.float64)
        found = solve(name, gaussian_velocity, x, sigmas, noise=lambda: torch.randn(x.shape, generator=generator))
        assert abs(found.mean() - MEAN) < 0.02
        return
    found = solve(name, gaussian_velocity, x, sigmas)
    assert (found - gaussian_solution(x, 1.0, 0.0)).abs().max() < 0.01


@pytest.mark.parametrize("name", SOLVERS)
def test_a_perfect_prediction_ends_on_the_clean_latents_in_any_number_of_steps(name):
    clean, x = start(1), start(2)
    for sigmas in ([1.0, 0.0], [1.0, 0.9, 0.0], [1.0, 0.96, 0.9, 0.5, 0.0]):
        found = solve(name, lambda x, sigma: (x - clean) / sigma, x, sigmas, noise=lambda: start(3))
        assert (found - clean).abs().max() < 1e-4


@pytest.mark.parametrize("name", SOLVERS)
def test_every_step_asks_for_one_velocity_and_reports_one_prediction(name):
    asked, told = [], []

    def velocity(x, i):
        asked.append(i)
        return curved_velocity(x, SIGMAS[i])

    SOLVERS[name].run(velocity, start(), SIGMAS, lambda i, x0: told.append(i), lambda: start(3))
    assert asked == told == list(range(len(SIGMAS) - 1))


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_never_writes_into_the_latents_it_is_given(name):
    x = start()
    before = x.clone()
    solve(name, curved_velocity, x, SIGMAS, noise=lambda: start(3))
    assert torch.equal(x, before)
