"""What travels on the wires of the extension: a Wan model with its stack, and a stack alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..lora_core import (
    Expert,
    LoadedStack,
    LoraStack,
    ModelError,
    ModelSpec,
    Route,
    RunSettings,
    SamplingPlan,
    SteerSettings,
    load_stack,
    make_plan,
    route,
    steered,
)

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..lora_core.attention.wishes import RadialWishes
    from ..lora_core.families.wan.sources import WanSources
    from ..lora_core.wording import Said

CATEGORY = "WanLoom"

WanModelType = io.Custom("WAN_MODEL")
LoraStackType = io.Custom("WAN_LORA_STACK")


@dataclass(frozen=True, eq=False)
class WanModelHandle:
    """A Wan model as ComfyUI's own MODELs, and the LoRAs that are to act on it; nothing is bound to them yet.

    Attributes:
        spec: what the model is, from the shapes of its parameters.
        low_noise: the low-noise expert; the only network of a single-expert model.
        high_noise: the high-noise expert, or None.
        loaded: the LoRAs, their files read for this model.
        allow_partial: let files through in which some tensors match nothing.
        settings: how it is going to be sampled; LoraRouteByNoise said so if `is_routed`.
        sources: the files it was loaded from; None where another loader did it.
        guide: a small model whose LoRAs steer this one, or None.
        radial: how its self-attention leaves pairs of tokens out, or None for dense attention.
    """

    spec: ModelSpec
    loaded: LoadedStack
    low_noise: ModelPatcher
    high_noise: ModelPatcher | None = None
    allow_partial: bool = False
    settings: RunSettings = field(default_factory=RunSettings)
    is_routed: bool = False
    sources: WanSources | None = None
    guide: GuideHandle | None = None
    radial: RadialHandle | None = None

    def expert(self, name: Expert) -> ModelPatcher:
        found = self.low_noise if name == "low_noise" else self.high_noise
        if found is None:
            raise ModelError(
                self.spec.title,
                "it has no high-noise expert",
                expected="a pair of experts",
                remedy="Connect a pair of experts",
            )
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
        beside = [] if self.guide is None else self.guide.model.get_models()
        return [*(patcher for _, patcher in self.experts()), *beside]

    def is_dynamic(self) -> bool:
        return all(patcher.is_dynamic() for patcher in self.get_models())

    def with_loras(self, loaded: LoadedStack, *, allow_partial: bool = False) -> WanModelHandle:
        """Return the model with other LoRAs on it."""
        return replace(self, loaded=loaded, allow_partial=self.allow_partial or allow_partial)

    def route(self) -> Route:
        """Say which LoRAs act on which expert."""
        return route(self.loaded, self.spec)

    def plan(self, settings: RunSettings) -> SamplingPlan:
        """Plan a run with these settings."""
        plan = make_plan(self.loaded, self.spec, settings)
        if self.guide is None:
            return plan
        own = self.guide.model
        return steered(plan, self.spec, own.spec, own.loaded, settings, self.guide.settings)


@dataclass(frozen=True, eq=False)
class GuideHandle:
    """A small model with its LoRAs, and how they steer the model that it hangs on."""

    model: WanModelHandle
    settings: SteerSettings


@dataclass(frozen=True, eq=False)
class RadialHandle:
    """Radial attention that a model is to be sampled with.

    Attributes:
        wishes: what the user said of it.
        tell: told when a run ends, of what ran.
    """

    wishes: RadialWishes
    tell: Callable[[Said], None]


def model_of(spec: ModelSpec, low_noise: ModelPatcher, high_noise: ModelPatcher | None = None) -> WanModelHandle:
    """Return a model of one or two experts, without LoRAs."""
    return WanModelHandle(spec, load_stack(LoraStack(), spec), low_noise, high_noise)
