"""What travels on the wires of the extension: a Wan model with its stack, and a stack alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..lora_core import Expert, LoraStack, ModelError, ModelSpec, Route, SamplingPlan, make_plan, route
from .folders import lora_folders

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

CATEGORY = "WanLoom"

WanModelType = io.Custom("WAN_MODEL")
LoraStackType = io.Custom("WAN_LORA_STACK")


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run, as far as they were said before the sampler.

    Attributes:
        boundary: the sigma at and above which the high-noise expert works, or "auto", the family's.
        num_steps, shift: of the flow schedule.
    """

    boundary: float | str = "auto"
    num_steps: int = 6
    shift: float = 5.0


@dataclass(frozen=True, eq=False)
class WanModelHandle:
    """A Wan model as ComfyUI's own MODELs, and the LoRAs that are to act on it; nothing is bound to them yet.

    Attributes:
        spec: what the model is, from the shapes of its parameters.
        low_noise: the low-noise expert; the only network of a single-expert model.
        high_noise: the high-noise expert, or None.
        stack: the LoRAs, their files read.
        allow_partial: let files through in which some tensors match nothing.
        settings: how it is going to be sampled; LoraRouteByNoise said so if `is_routed`.
    """

    spec: ModelSpec
    low_noise: ModelPatcher
    high_noise: ModelPatcher | None = None
    stack: LoraStack = field(default_factory=LoraStack)
    allow_partial: bool = False
    settings: RunSettings = field(default_factory=RunSettings)
    is_routed: bool = False

    def expert(self, name: Expert) -> ModelPatcher:
        found = self.low_noise if name == "low_noise" else self.high_noise
        if found is None:
            raise ModelError(self.spec.title, "it has no high-noise expert", expected="a pair of experts")
        return found

    def experts(self) -> Iterator[tuple[Expert, ModelPatcher]]:
        """Yield the experts in the order of a run."""
        if self.high_noise is not None:
            yield "high_noise", self.high_noise
        yield "low_noise", self.low_noise

    # What ComfyUI asks of an output that holds models, to know what a prompt uses and what to let go first.

    @property
    def patcher(self) -> ModelPatcher:
        return self.low_noise

    def get_models(self) -> list[ModelPatcher]:
        return [patcher for _, patcher in self.experts()]

    def is_dynamic(self) -> bool:
        return all(patcher.is_dynamic() for patcher in self.get_models())

    def with_stack(self, stack: LoraStack, *, allow_partial: bool = False) -> WanModelHandle:
        """Return the model with another stack on it."""
        return replace(self, stack=stack, allow_partial=self.allow_partial or allow_partial)

    def route(self) -> Route:
        """Say which LoRAs act on which expert."""
        return route(self.stack, self.spec, lora_folders=lora_folders(), allow_partial=self.allow_partial)

    def plan(
        self, settings: RunSettings, *, cfg: tuple[float, float] = (1.0, 1.0), denoise: float = 1.0
    ) -> SamplingPlan:
        """Plan a run with these settings."""
        return make_plan(
            self.route(),
            self.spec,
            num_steps=settings.num_steps,
            shift=settings.shift,
            boundary=settings.boundary,
            cfg=cfg,
            denoise=denoise,
        )
