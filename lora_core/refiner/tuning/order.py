"""The order of the examples: all rows in a new order again and again, with rehearsal rows among them at their share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise


def order_of(num_rows: int, num_rehearsal: int, share: float, num_examples: int, seed: int) -> list[int]:
    """Return which examples come one after the other; rehearsal rows are numbered behind the others.

    It follows from the seed alone, whatever the model, the method and how many processes share the batches; a longer
    one begins like a shorter one. Of the first n examples, n times `share` are of the rehearsal, rounded.
    """
    rows = _again_and_again(0, num_rows, random.Random(f"rows {seed}"))
    rehearsal = _again_and_again(num_rows, num_rehearsal, random.Random(f"rehearsal {seed}"))
    counts = [round(share * place) for place in range(num_examples + 1)]
    return [next(rehearsal if b > a else rows) for a, b in pairwise(counts)]


def _again_and_again(first: int, num: int, chance: random.Random) -> Iterator[int]:
    while num:
        places = list(range(first, first + num))
        chance.shuffle(places)
        yield from places
