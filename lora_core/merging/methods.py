"""The methods that merge changes value by value, in the core: TIES, DARE, and TIES in the basis of KnOTS.

Letters as in `core`. Values are compared in bases that all changes share, where each value has one meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..deltas.thin import Pair
from .core import Core
from .recipe import MergeRecipe, Method

#: Changes -> the core that holds them and what they are merged to, and that, (K, J).
Merge = Callable[[Sequence[Pair], MergeRecipe, str], tuple[Core, Tensor, Tensor]]


def summed(pairs: Sequence[Pair], recipe: MergeRecipe, target: str) -> tuple[Core, Tensor, Tensor]:
    """Return the core, the sum, and the sum once more."""
    core = Core.of(pairs)
    return core, core.total, core.total


def _ties(pairs: Sequence[Pair], recipe: MergeRecipe, target: str) -> tuple[Core, Tensor, Tensor]:
    core = Core.of(pairs).turned()
    return core, core.total, elected(core.parts, recipe.share)


def _dare(pairs: Sequence[Pair], recipe: MergeRecipe, target: str) -> tuple[Core, Tensor, Tensor]:
    """Drop values at random and enlarge the others by as much (Yu et al. 2023, arXiv 2311.03099, section 3.2)."""
    core = Core.of(pairs).turned()
    generator = torch.Generator().manual_seed(_seed_of(recipe.seed or 0, target))
    kept = [torch.rand(part.shape, generator=generator) < recipe.share for part in core.parts]
    total = sum((part * keep for part, keep in zip(core.parts, kept, strict=True)), torch.zeros_like(core.parts[0]))
    return core, core.total, total / recipe.share


def _knots(pairs: Sequence[Pair], recipe: MergeRecipe, target: str) -> tuple[Core, Tensor, Tensor]:
    """Elect values by TIES over all inputs, in the left basis alone (Stoica et al. 2024, arXiv 2410.19735, eq. 3)."""
    core = Core.of(pairs).turned()
    rows = [part.float() @ core.right for part in core.parts]
    joint = Core.of([*pairs, (elected(rows, recipe.share), core.left)])
    return joint, torch.stack(joint.parts[:-1]).sum(dim=0), joint.parts[-1]


def elected(parts: Sequence[Tensor], density: float) -> Tensor:
    """Merge by TIES: each keeps its largest values, the sign with more weight wins, and its values are averaged.

    (Yadav et al. 2023, arXiv 2306.01708, algorithm 1, with the user's strengths in the parts and lambda = 1.)
    """
    trimmed = torch.stack([_largest(part, density) for part in parts])
    agrees = trimmed * torch.sign(trimmed.sum(dim=0)) > 0
    return (trimmed * agrees).sum(dim=0) / agrees.sum(dim=0).clamp_min(1)


def _largest(part: Tensor, density: float) -> Tensor:
    """Return a part with its smallest values set to zero, a share of `density` kept."""
    num_dropped = part.numel() - max(1, round(density * part.numel()))
    if num_dropped == 0:
        return part
    threshold = part.abs().flatten().kthvalue(num_dropped).values
    return part * (part.abs() > threshold)


def _seed_of(seed: int, target: str) -> int:
    """Return a seed of a target's own, the same on every machine."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"{seed}:{target}".encode()).digest()[:7], "big")


MERGES: Mapping[Method | None, Merge] = {"svd": summed, "ties": _ties, "dare": _dare, "knots": _knots}
