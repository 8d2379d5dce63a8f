"""The seeded noise that a video starts from: the same numbers as ComfyUI and diffusers draw, on every device.

Dtype policy: float32 on the CPU. A private generator is used, so drawing leaves torch's global one alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import typed, whole_number
from ..errors import RequestError

#: Seeds are what torch's generator takes: unsigned 64-bit integers.
MAX_SEED = 2**64 - 1


@typed(RequestError)
def draw_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw the starting noise of `shape` (B, C, F, H, W).

    Equal to ComfyUI's `comfy/sample.py: prepare_noise` and to diffusers' `randn_tensor` with a CPU generator.
    """
    shape = tuple(whole_number(size, "shape", RequestError, low=0) for size in shape)
    whole_number(seed, "seed", RequestError, low=0, high=MAX_SEED)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


class NoiseStream:
    """Fresh noise of one shape at each call, for solvers that add some on their way.

    The stream is seeded with `seed + 1`, as k-diffusion's `default_noise_sampler` does in ComfyUI on the CPU: seeded
    with `seed` itself, its first draw would repeat the noise that the video started from.

    Args:
        shape: of each draw.
        seed: of the video.
        num_drawn: how many draws have been made of it already, by the part of a run that this one goes on from.
    """

    def __init__(self, shape: tuple[int, ...], seed: int, num_drawn: int = 0) -> None:
        self._shape = shape
        self._generator = torch.Generator("cpu").manual_seed((seed + 1) % (MAX_SEED + 1))
        self.num_drawn = 0
        for _ in range(num_drawn):
            self()

    def __call__(self) -> Tensor:
        self.num_drawn += 1
        return torch.randn(self._shape, generator=self._generator, dtype=torch.float32)
