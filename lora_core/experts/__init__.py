"""The two noise experts of a model, the noise each works at, and how people's files tell them apart."""

from __future__ import annotations

from typing import Literal

Expert = Literal["high_noise", "low_noise"]
EXPERTS: tuple[Expert, Expert] = ("high_noise", "low_noise")


def expert_at(sigma: float, boundary: float | None) -> Expert:
    """Return the expert that works at `sigma`: the high-noise one from the boundary up, the low-noise one below.

    The boundary itself is the high expert's, as in Wan 2.2's `wan/text2video.py`. Without a boundary there is one
    network, and it goes by the name of the low-noise expert.
    """
    return "low_noise" if boundary is None or sigma < boundary else "high_noise"
