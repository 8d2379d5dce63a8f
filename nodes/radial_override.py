"""Radial attention on the host's models: its attention override, told of each call's step and frames.

Letters: C F H W channels, frames, rows and columns of latents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..lora_core import ModelError, ModelSpec, PlanError
from ..lora_core.attention.controller import RadialController, make_controller
from ..lora_core.attention.dense import first_step_of, step_at
from ..lora_core.attention.executors import choose_executor
from ..lora_core.attention.flex import check_head_width
from ..lora_core.attention.wishes import RadialWishes
from ..lora_core.families.base import parameter_shapes
from ..lora_core.families.family import Family
from ..lora_core.families.registry import FAMILIES, family_of
from ..lora_core.families.self_attention import NativeAttention
from ..lora_core.wording import Said, joined, said
from .bridge import network_of
from .radial_call import KEY, WHERE, RadialCall, radial_override

if TYPE_CHECKING:
    from .sockets import WanModelHandle

_OVERRIDE = "optimized_attention_override"
#: Told, when a run ends, of what ran.
Tell = Callable[[Said], None]


class HostRadial:
    """Radial attention on the experts of one model, counting the steps of the whole run.

    Args:
        spec: the model.
        wishes: what the user said of it.
        levels: the noise levels of the whole run, whichever part a sampler does; None where only the sampler knows.
        num_steps: of all samplers together, where levels are None; 0 where one sampler does the whole run.
        tell: told when a run ends.
    """

    def __init__(
        self,
        spec: ModelSpec,
        wishes: RadialWishes,
        *,
        levels: Sequence[float] | None = None,
        num_steps: int = 0,
        tell: Tell = lambda text: None,
    ) -> None:
        self._spec, self._wishes = spec, wishes
        self._levels, self._num_steps, self._tell = levels, num_steps, tell
        self._controllers: dict[tuple[int, ...], RadialController] = {}
        self._num_asked, self._last_step = 0, -1
        self._place: _Place | None = None

    @property
    def _native(self) -> NativeAttention:
        return _native_of(family_of(self._spec))

    def on(self, patcher: ModelPatcher) -> ModelPatcher:
        """Return a clone of a MODEL with radial attention.

        Raises:
            ModelError: nobody knows where its self-attention is, or it is radial already.
        """
        check_model(patcher)
        clone = patcher.clone()
        options = clone.model_options["transformer_options"]
        options[_OVERRIDE] = radial_override(options.get(_OVERRIDE))
        clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, self._run)
        clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, self._call)
        return clone

    def notes(self) -> list[Said]:
        """Say what ran: how many self-attentions were radial, and for each size of clip or window what that saves."""
        controllers = list(self._controllers.values())
        counted = said(
            "radial attention: {radial} of {all} self-attentions were radial",
            radial=sum(one.num_radial for one in controllers),
            all=self._num_asked,
        )
        return [counted, *(note for one in controllers for note in one.notes())]

    def _run(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Sample, and tell of it."""
        self._place = None
        sampled = executor(*args, **kwargs)
        self._tell(joined("\n", self.notes()))
        return sampled

    def _call(
        self,
        executor: Callable[..., Tensor],
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] = {},  # noqa: B006  # as the host's own
        **kwargs: Any,
    ) -> Tensor:
        """Let the network predict; its attentions find the step and the geometry of this call in the options."""
        network = executor.class_obj.diffusion_model  # type: ignore[attr-defined]  # the host's executor of wrappers
        is_first = self._place is None
        if self._place is None:
            self._place = self._found_place(transformer_options, executor.class_obj)  # type: ignore[attr-defined]
            self._check_executor(network, x.device)
        step = self._place.step(float(t.flatten()[0]))
        if is_first and step <= self._last_step:  # another run, not the next part of this one
            self._controllers.clear()
            self._num_asked = 0
        self._last_step = step
        controller = self._controller(x, self._place.num_steps)
        controller.at_step(step)
        call = RadialCall(controller, self._native, 0 if c_crossattn is None else c_crossattn.shape[1])
        options = {**transformer_options, KEY: call}
        out = executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
        self._num_asked += call.num_asked
        if is_first and not call.num_asked:
            raise _bypassed(transformer_options.get(_OVERRIDE))
        return out

    def _controller(self, x: Tensor, num_steps: int) -> RadialController:
        """Return the controller for latents of this size: of the clip, or of a window of it."""
        patch = self._spec.patch_size
        sizes = [-(-size // part) * part for size, part in zip(x.shape[2:], patch, strict=True)]  # as the host pads
        key = (*sizes, num_steps)
        if key not in self._controllers:
            settings = self._wishes.settings(self._spec, sizes[0])
            shape = (1, self._spec.latent_channels, *sizes)
            self._controllers[key] = make_controller(self._spec, shape, num_steps, settings)
        return self._controllers[key]

    def _found_place(self, options: dict[str, Any], model: Any) -> _Place:
        """Return where in the whole run the sampler is at work."""
        if self._levels is not None:
            return _Place(tuple(self._levels), 0, len(self._levels) - 1)
        found = options.get("sample_sigmas")
        part = () if found is None else tuple(found.tolist())
        if len(part) < 2:
            raise PlanError(WHERE, "the sampler does not say its noise levels", remedy="Use one of ComfyUI's samplers")
        if self._num_steps:
            whole = comfy.samplers.calculate_sigmas(model.model_sampling, "simple", self._num_steps).tolist()
            return _Place(part, first_step_of(part, whole), self._num_steps)
        if part[-1] > 0 or part[0] < 0.99 * float(model.model_sampling.sigma_max):
            raise PlanError(
                WHERE,
                said(
                    "the sampler does a part of a run, from noise level {first:.3g} to {last:.3g}",
                    first=part[0],
                    last=part[-1],
                ),
                expected="how many steps the whole run has",
                remedy="Give the steps of all samplers together as steps",
            )
        return _Place(part, 0, len(part) - 1)

    def _check_executor(self, network: Any, device: torch.device) -> None:
        if choose_executor(self._wishes.executor, device) == "flex":
            check_head_width(self._native.head_width(network))


@dataclass(frozen=True)
class _Place:
    """Where in a whole run of `num_steps` the levels lie that a sampler walks along."""

    levels: tuple[float, ...]
    first: int
    num_steps: int

    def step(self, sigma: float) -> int:
        return min(self.first + step_at(sigma, self.levels), self.num_steps - 1)


def check_model(patcher: ModelPatcher) -> None:
    """Raise unless a MODEL can get radial attention."""
    network = network_of(patcher)
    kind = type(network)
    described = [family for family in FAMILIES if family.native_attention is not None]
    matching = [
        family for family in described if _native_of(family).network == f"{kind.__module__}.{kind.__qualname__}"
    ]
    relative = next((found for family in matching if (found := family.relative(parameter_shapes(network)))), "")
    if not matching or relative:
        raise ModelError(
            WHERE,
            said(
                "its network is a {kind}, and the order of its tokens is not known",
                kind=relative or kind.__name__,
            ),
            expected=said(
                "a model as it was published, of {families}", families=", ".join(family.title for family in described)
            ),
            remedy="Sample this model without it",
        )
    if is_radial(patcher):
        raise ModelError(WHERE, "radial attention is on the model already", remedy="Keep one of the two nodes")


def _native_of(family: Family) -> NativeAttention:
    assert family.native_attention is not None, "check_model() has refused it"
    return family.native_attention


def is_radial(patcher: ModelPatcher) -> bool:
    return any(patcher.wrappers.get(WrappersMP.APPLY_MODEL, {}).get(KEY, ()))


def other_override(patcher: ModelPatcher) -> str | None:
    """Return what another node's attention override on a MODEL is called, or None."""
    return _named(patcher.model_options["transformer_options"].get(_OVERRIDE))


def _named(override: object) -> str | None:
    if override is None or getattr(override, "wanloom_radial", False):
        return None
    name = getattr(override, "__qualname__", type(override).__qualname__)
    return f"{getattr(override, '__module__', '?')}.{name}"


def _bypassed(override: object) -> ModelError:
    other = _named(override)
    if other is not None:
        what = said("another node's attention override has taken its place: {name}", name=other)
        return ModelError(WHERE, what, remedy="Put RadialAttention behind that node")
    return ModelError(
        WHERE,
        "the network asked no attention override",
        remedy="Take other nodes off the model, or sample it without this",
    )


def radial_of(model: WanModelHandle, levels: Sequence[float]) -> HostRadial | None:
    """Return what makes a model's self-attention radial in a run along these levels; None where it stays dense."""
    if model.radial is None:
        return None
    return HostRadial(model.spec, model.radial.wishes, levels=levels, tell=model.radial.tell)
