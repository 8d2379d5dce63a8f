"""The ranks that fill a file of a given size best: those that hold most of all squares for their bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import StackError
from ..wording import said

#: Of names, shapes and what the metadata tell of each layer.
BYTES_PER_LAYER = 400
#: Of the other metadata: sources and their hashes.
BYTES_PER_FILE = 4096


@dataclass(frozen=True)
class Cost:
    """What a layer has to offer.

    Attributes:
        values: its singular values, the largest first.
        bytes_per_rank: what each of them costs.
    """

    values: Sequence[float]
    bytes_per_rank: int


def ranks_within(costs: Mapping[str, Cost], num_bytes: int, num_bytes_in_full: int) -> dict[str, int]:
    """Return the rank of each layer with which a file is no larger than this; 0 for a layer that is not worth any.

    Values are taken by their squares for each byte; within a layer these fall, so that its first ones are taken first.

    Args:
        costs: target -> what it offers.
        num_bytes: of the file.
        num_bytes_in_full: of what it holds beside, which cannot be cut.
    """
    left = num_bytes - num_bytes_in_full - BYTES_PER_FILE - BYTES_PER_LAYER * len(costs)
    offers = sorted(
        ((value * value / cost.bytes_per_rank, target) for target, cost in costs.items() for value in cost.values),
        reverse=True,
    )
    ranks = dict.fromkeys(costs, 0)
    for gain, target in offers:
        price = costs[target].bytes_per_rank
        if gain > 0 and price <= left:
            ranks[target] += 1
            left -= price
    if not any(ranks.values()):
        least = num_bytes - left + min((cost.bytes_per_rank for cost in costs.values()), default=0)
        what = said("{size:,} bytes hold nothing of {count} layers", size=num_bytes, count=len(costs))
        raise StackError("size", what, expected=said("at least {least:,}", least=least), remedy="Allow more")
    return ranks
