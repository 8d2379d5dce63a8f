"""Training of the two pocket experts: one trunk over all noise levels, then a copy of it for each side of the boundary.

Flow matching: x_sigma = (1 - sigma) * clip + sigma * noise, and the network predicts noise - clip.
Letters: B batch, C latent channels, F latent frames, H W latent height and width. Everything is float32.
"""

import copy
from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor
from torch.nn import functional

from .bars import progress_bar
from .experts import BOUNDARY_SIGMA, build_expert, fold_padding, predict_velocity
from .flow import ExpertPair
from .latents import Examples
from .muon import matrix_muon
from .train_vae import update, warmup_then_cosine


@dataclass(frozen=True)
class FlowConfig:
    """How one network is trained by flow matching, between two noise levels.

    With a `matrix_rate`, the matrices inside the blocks are trained by Muon, and Adam trains only the rest.
    """

    num_steps: int
    learning_rate: float = 1e-3
    matrix_rate: float | None = None
    batch_size: int = 32
    lowest_sigma: float = 0.0
    highest_sigma: float = 1.0
    shift: float = 3.0
    empty_caption_share: float = 0.1
    average_decay: float = 0.99
    warmup_steps: int = 50
    seed: int = 21


@dataclass(frozen=True)
class ExpertsConfig:
    """The three trainings that make the pair."""

    seed: int = 20
    num_clips: int = 2400
    trunk: FlowConfig = FlowConfig(num_steps=1300, learning_rate=2e-3, matrix_rate=0.02)
    high_noise: FlowConfig = FlowConfig(
        num_steps=300, learning_rate=8e-4, matrix_rate=0.008, lowest_sigma=BOUNDARY_SIGMA, seed=22
    )
    low_noise: FlowConfig = FlowConfig(
        num_steps=1100, learning_rate=2e-3, matrix_rate=0.02, highest_sigma=BOUNDARY_SIGMA, seed=23
    )


def train_trunk(config: ExpertsConfig, examples: Examples, empty_text: Tensor) -> WanTransformer3DModel:
    """Train one network on every noise level; `empty_text` is the embedding of the empty caption, (1, L, width)."""
    torch.manual_seed(config.seed)
    return train_flow(fold_padding(build_expert()), config.trunk, examples, empty_text, "trunk")


def split_trunk(
    trunk: WanTransformer3DModel, config: ExpertsConfig, examples: Examples, empty_text: Tensor
) -> ExpertPair:
    """Train two copies of the trunk further, each on its own side of the boundary."""
    return ExpertPair(
        train_flow(copy.deepcopy(trunk), config.high_noise, examples, empty_text, "high-noise expert"),
        train_flow(copy.deepcopy(trunk), config.low_noise, examples, empty_text, "low-noise expert"),
    )


def train_flow(
    network: WanTransformer3DModel,
    config: FlowConfig,
    examples: Examples,
    empty_text: Tensor,
    what: str,
) -> WanTransformer3DModel:
    """Train the network's parameters that require gradients; at the end they hold their running averages."""
    generator = torch.Generator().manual_seed(config.seed)
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    averages = [weight.detach().clone() for weight in weights]
    optimizers = build_optimizers(network, config)
    with progress_bar(config.num_steps, what) as advance:
        for step in range(config.num_steps):
            loss = flow_loss(network, config, examples.batch(config.batch_size, generator), empty_text, generator)
            update(optimizers, loss, warmup_then_cosine(step, config.warmup_steps, config.num_steps))
            keep = min(config.average_decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(averages, [weight.detach() for weight in weights], 1.0 - keep)
            advance(f"loss {loss.item():.4f}")
    with torch.no_grad():
        for weight, average in zip(weights, averages, strict=True):
            weight.copy_(average)
    return network


def build_optimizers(network: WanTransformer3DModel, config: FlowConfig) -> list[torch.optim.Optimizer]:
    """Share the parameters that require gradients between Muon and Adam; each group remembers its peak rate."""
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    matrices = [weight for name, weight in named if config.matrix_rate and "blocks." in name and weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for _, weight in named if id(weight) not in chosen]
    optimizers: list[torch.optim.Optimizer] = []
    if config.matrix_rate:
        optimizers.append(matrix_muon(matrices, config.matrix_rate))
    if others:
        optimizers.append(torch.optim.Adam(others, config.learning_rate, betas=(0.9, 0.98)))
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["peak_lr"] = group["lr"]
    return optimizers


def flow_loss(
    network: WanTransformer3DModel, config: FlowConfig, batch: Examples, empty_text: Tensor, generator: torch.Generator
) -> Tensor:
    """Give the mean squared error of the predicted velocity on one batch."""
    clean = batch.latents
    noise = torch.randn(clean.shape, generator=generator)
    sigma = random_sigmas(len(clean), config, generator)
    without_caption = torch.rand(len(clean), generator=generator) < config.empty_caption_share
    text = torch.where(without_caption.view(-1, 1, 1), empty_text, batch.text)
    level = sigma.view(-1, 1, 1, 1, 1)
    predicted = predict_velocity(network, (1.0 - level) * clean + level * noise, sigma, text)
    return functional.mse_loss(predicted, noise - clean)


def random_sigmas(num: int, config: FlowConfig, generator: torch.Generator) -> Tensor:
    """Draw noise levels between the config's bounds, (num,), denser near 1 by the shift; stratified over the batch."""
    low, high = (_unshifted(sigma, config.shift) for sigma in (config.lowest_sigma, config.highest_sigma))
    even = (torch.arange(num) + torch.rand(num, generator=generator)) / num
    u = low + (high - low) * even
    return config.shift * u / (1.0 + (config.shift - 1.0) * u)


def _unshifted(sigma: float, shift: float) -> float:
    return sigma / (shift - (shift - 1.0) * sigma)
