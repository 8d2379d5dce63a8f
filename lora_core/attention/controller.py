"""Radial attention at work in one run: one controller for both experts, told of each step, asked by each block.

Letters: B batch, H heads, N tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace

from torch import Tensor, nn

from ..checks import typed, whole_number
from ..errors import ModelError, PlanError, RequestError
from ..families.base import ModelSpec
from ..families.registry import family_of
from ..families.self_attention import Attend
from ..wording import Said, said
from .block_map import BlockMap, radial_map
from .cost import step_flops
from .dense import DenseParts, step_at
from .executors import attend, choose_executor
from .flex import check_head_width
from .settings import RadialSettings, geometry_of, require_self_attention, usual_length

#: Of a dense run's arithmetic. The executors reach two thirds of what counting promises (docs/long-video.md). Below
#: the second, as in 720p, the usual length pays too: the paper's HunyuanVideo of 117 frames takes 0.53 of the time.
_PAYS_BELOW, _PAYS_WELL_BELOW = 0.9, 2 / 3


@dataclass(eq=False)
class RadialController:
    """What is dense and what is radial in a run; `at_step` is to be called before the network is.

    Attributes:
        block_map: of the clip's tokens.
        dense: which steps and blocks stay dense.
        num_radial: how many self-attentions have been radial so far.
    """

    spec: ModelSpec
    settings: RadialSettings
    block_map: BlockMap
    dense: DenseParts
    num_radial: int = field(default=0, init=False)
    _step: int | None = field(default=None, init=False)

    def at_step(self, step: int) -> None:
        """Say which step of the whole run comes, counted from 0."""
        self._step = whole_number(step, "step", PlanError, low=0, high=self.dense.num_steps - 1)

    def at_sigma(self, sigma: float, sigmas: Sequence[float]) -> None:
        """Say which step comes by its noise level, for hosts that know no more; `sigmas` are those of the whole run."""
        self.at_step(step_at(sigma, sigmas))

    def choose(self, block: int) -> Attend | None:
        """Return what computes the self-attention of a block at this step; None where it stays dense."""
        assert self._step is not None, "at_step() comes first"
        return None if self.dense.is_dense(self._step, block) else self._attend

    def on(self, network: nn.Module) -> AbstractContextManager[None]:
        """Let a network compute so inside a `with` block; cross-attention stays as it is.

        Raises:
            ModelError: its self-attention is another's already.
            RequestError: the executor cannot compute it.
        """
        family = family_of(self.spec)
        assert family.self_attention is not None, "make_controller() has checked it"
        executor = choose_executor(self.settings.executor, next(network.parameters()).device)
        if executor == "flex" and family.head_width is not None:
            check_head_width(family.head_width(network))
        return family.self_attention(network, self.choose)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, num_text: int = 0, num_text_valid: Tensor | None = None, /
    ) -> Tensor:
        """Return (B, H, N, D) of queries, keys and values of this shape: the clip's tokens, a text's behind them."""
        self.num_radial += 1
        block_map = self.block_map
        if num_text:
            block_map = radial_map(replace(block_map.geometry, num_text_tokens=num_text))
        return attend(q, k, v, block_map, executor=self.settings.executor, num_text_valid=num_text_valid)

    @property
    def cost(self) -> float:
        """Multiplications of all self-attentions of the run against those of dense ones."""
        return self.dense.share + (1 - self.dense.share) * self.block_map.cost

    @property
    def whole_cost(self) -> float:
        """Multiplications of the whole run, everything that is no self-attention included, against a dense one's."""
        return step_flops(self.spec, self.block_map.geometry.num_tokens).left(self.cost)

    def notes(self) -> tuple[Said, ...]:
        """Return what is to be said of it: what is left, what that saves, and whether it is likely to pay."""
        frames, long = self.block_map.geometry.num_frames, 2 * usual_length(self.spec) - 1
        counted = said(
            "radial attention: {density} of the pairs of {frames} latent frames are kept, which leaves {cost} of the "
            "run's arithmetic in self-attention and {whole} of all of it",
            density=f"{self.block_map.density:.0%}",
            frames=frames,
            cost=f"{self.cost:.0%}",
            whole=f"{self.whole_cost:.0%}",
        )
        if self.whole_cost >= _PAYS_BELOW:
            few = said(
                "radial attention: it will not pay here; what is left out is {saved} of the run's arithmetic, and "
                "leaving it out costs time of its own",
                saved=f"{max(0.0, 1 - self.whole_cost):.0%}",
            )
            return (counted, few)
        # At 480x832 half of the pairs are left, and a third at twice the length.
        if frames < long and self.whole_cost >= _PAYS_WELL_BELOW:
            short = said(
                "radial attention: it hardly pays below about {long} latent frames, twice the usual length", long=long
            )
            return (counted, short)
        return (counted,)

    def to_dict(self) -> dict[str, object]:
        """Return settings and what they come to as plain data for a record."""
        share = {"density": self.block_map.density, "cost": self.cost, "whole_cost": self.whole_cost}
        return {"settings": asdict(self.settings), **{name: round(value, 4) for name, value in share.items()}}


@typed(RequestError)
def make_controller(
    spec: ModelSpec, latent_shape: Sequence[int], num_steps: int, settings: RadialSettings
) -> RadialController:
    """Return the controller of one run, or say why there cannot be one.

    Args:
        spec: the model.
        latent_shape: (B, C, F, H, W).
        num_steps: of the whole run, even if only a part of it is done.
        settings: how radial attention is to be.

    Raises:
        ModelError: nobody knows how to replace the model's self-attention.
        PlanError: nothing but dense steps or blocks would be left.
    """
    require_self_attention(spec)
    block_map = radial_map(geometry_of(spec, latent_shape, settings))
    dense = settings.dense.of(num_steps, spec.num_blocks)
    return RadialController(spec, settings, block_map, dense)


def check_controller(controller: RadialController, latent_shape: Sequence[int], last_step: int) -> None:
    """Raise unless a controller was made for latents of this shape and a run that has this step."""
    geometry, spec = controller.block_map.geometry, controller.spec
    frames, height, width = (size // patch for size, patch in zip(latent_shape[2:], spec.patch_size, strict=True))
    if (frames, height * width) != (geometry.num_frames, geometry.tokens_per_frame):
        what = f"made for {geometry.num_frames} latent frames of {geometry.tokens_per_frame} tokens"
        expected, remedy = f"{frames} of {height * width}, as the noise is", "Make the controller for these latents"
        raise ModelError("radial attention", what, expected=expected, remedy=remedy)
    if last_step >= controller.dense.num_steps:
        what = f"made for a run of {controller.dense.num_steps} steps, and the plan has step {last_step + 1}"
        raise PlanError("radial attention", what, remedy="Make the controller for the whole plan")
