"""One clip computed by several processes, each with a part of its tokens: diffusers' context parallelism (Ulysses).

Before attention the processes exchange tokens for heads, so that each attends with all tokens in a part of the heads
(arXiv 2309.14509), and back after it. Everything else is computed for a process's own tokens alone.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ModelError, RequestError
from ..families.base import ModelSpec
from ..families.family import Shape, TokenSplit
from ..families.registry import family_of

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

#: Warn of what is meant here: the interface is young, and times that are the same for all tokens are not split.
_TALKATIVE = ("diffusers.models.modeling_utils", "diffusers.hooks.context_parallel")


@dataclass(frozen=True, eq=False)
class ContextParallel:
    """The processes that compute a clip together, joined by `torch.distributed` already.

    Attributes:
        mesh: (ring, ulysses) with all of them along the second; see `make_context_parallel`.
    """

    mesh: DeviceMesh

    @property
    def num_processes(self) -> int:
        return self.mesh.size()

    def on(self, network: nn.Module, spec: ModelSpec) -> AbstractContextManager[None]:
        """Let a model's network share out its tokens inside a `with` block; see `sharing`."""
        return sharing(network, token_split(spec), self.mesh)


@contextmanager
def sharing(network: nn.Module, split: TokenSplit, mesh: DeviceMesh) -> Iterator[None]:
    """Let a network of diffusers share out its tokens inside a `with` block, and be as it was behind it.

    A stack may be attached to it before or inside: it acts below the exchange, on each process's own tokens.
    """
    with split.attention(network):
        plan = split.plan(network)
        _enable(network, plan, mesh)
        try:
            with _quiet():
                yield
        finally:
            _disable(network, plan)


def make_context_parallel(device: torch.device) -> ContextParallel:
    """Return the processes that a launcher has started, once `torch.distributed` has joined them.

    Raises:
        ModelError: diffusers is older than 0.38, whose plans are others.
    """
    import diffusers
    from torch.distributed import get_world_size
    from torch.distributed.device_mesh import init_device_mesh

    if "mesh" not in getattr(diffusers.ContextParallelConfig, "__dataclass_fields__", {}):
        what = f"version {diffusers.__version__} does not share clips out as it is meant here"
        raise ModelError("diffusers", what, expected="0.38 or newer; 0.42 was tried", remedy="Upgrade it")
    shape = (1, get_world_size())
    return ContextParallel(init_device_mesh(device.type, shape, mesh_dim_names=("ring", "ulysses")))


def token_split(spec: ModelSpec) -> TokenSplit:
    """Return how a model's tokens are shared out, or say that nobody knows."""
    if (split := family_of(spec).parallel) is None:
        what = "nobody knows how several processes compute it together"
        raise ModelError(spec.title, what, remedy="Run it in one process")
    return split


def check_processes(network: nn.Module, spec: ModelSpec, latents: Shape, num_tokens: int, num_processes: int) -> None:
    """Raise unless a number of processes can share a clip out evenly.

    Args:
        network: one expert of the model, as it is stored.
        spec: the model.
        latents: (B, C, F, H, W) of the clip.
        num_tokens: of its text.
        num_processes: how many were launched.

    Raises:
        RequestError: they do not divide the heads, or what is split.
    """
    split = token_split(spec)
    parts = {"heads of self-attention": split.num_heads(network), **split.parts(spec, latents, num_tokens)}
    for name, count in parts.items():
        if count % num_processes:
            whole = math.gcd(*parts.values())
            numbers = [str(number) for number in range(2, whole + 1) if whole % number == 0]
            raise RequestError(
                "context parallel",
                f"{num_processes} processes do not divide the {count} {name}",
                expected=" or ".join(numbers) or "another size, or one process",
                remedy="Launch as many as can share them",
            )


def _enable(network: Any, plan: Any, mesh: DeviceMesh) -> None:
    from diffusers import ContextParallelConfig

    config = ContextParallelConfig(ulysses_degree=mesh.size(), mesh=mesh)
    with _quiet(), _counted_as_a_device():
        network.enable_parallelism(config=config, cp_plan=plan)


def _disable(network: Any, plan: Any) -> None:
    """Take out what `enable_parallelism` has put in, for which diffusers has no word of its own but for the hooks."""
    from diffusers.hooks.context_parallel import remove_context_parallel

    remove_context_parallel(network, network._cp_plan if plan is None else plan)
    for module in network.modules():
        for owner in filter(None, (module, getattr(module, "processor", None))):
            vars(owner).pop("_parallel_config", None)  # back to the None of its class
        registry = getattr(module, "_diffusers_hook", None)
        if registry is not None and not registry.hooks:
            del module._diffusers_hook
            if getattr(vars(module).get("forward"), "__func__", None) is type(module).forward:
                del module.forward


@contextmanager
def _counted_as_a_device() -> Iterator[None]:
    """Let a machine without an accelerator count as one device: diffusers 0.42 divides by their number."""
    if torch.accelerator.device_count():
        yield
        return
    count = torch.accelerator.device_count
    torch.accelerator.device_count = lambda: 1
    try:
        yield
    finally:
        torch.accelerator.device_count = count


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*all_gather_tensor", FutureWarning)  # torch 2.13 has renamed it
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
