"""WanLoom's core: LoRA files, stacks, routing, plans, fused layers and sampling for Wan video models, without a host.

The names below are the public API. Importing the package loads none of them, and neither torch: each is imported when
it is first asked for, for every start of a host and every page of help waits for what is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apply.attachment import Attachment, attach
    from .deltas import Delta, Dora, Full, LoHa, LoKr, Lora
    from .engine.generate import Video, generate, plan_request
    from .engine.generator import WanVideoGenerator
    from .engine.record import request_from_record, stack_from_record
    from .engine.request import GenerationRequest
    from .errors import (
        LoraCoreError,
        LoraFileError,
        LoraMismatchError,
        ModelError,
        OutputError,
        PlanError,
        RequestError,
        StackError,
        UnsupportedLoraError,
    )
    from .experts import Expert
    from .experts.twins import find_twin
    from .families.base import ModelSpec
    from .families.condition import Condition
    from .families.wan.model import WanModel
    from .families.wan.open import open_wan
    from .families.wan.spec import WAN_SPEC_NAMES, infer_wan_spec, wan_spec
    from .files.account import Account, TensorRecord
    from .files.read import read_lora
    from .files.report import LoraReport, inspect_lora
    from .files.weights import LoraWeights
    from .files.write import write_lora
    from .media.contact_sheet import contact_sheet
    from .media.video import read_video, save_video
    from .plan.advice import Advice
    from .plan.plan import SamplingPlan, StepPlan
    from .plan.planning import make_plan
    from .plan.route import Route, RoutedLora
    from .plan.routing import route
    from .plan.settings import RunSettings
    from .plan.sigmas import flow_sigmas
    from .sampling.noise import draw_noise
    from .sampling.sample import sample
    from .sampling.solvers import SOLVERS
    from .stack.blend import blend
    from .stack.entry import LoraEntry
    from .stack.loaded import LoadedLora, LoadedStack
    from .stack.loading import load_stack
    from .stack.schedule import StrengthSchedule
    from .stack.stack import LoraStack
    from .stack.target_filter import TargetFilter

__all__ = [
    "SOLVERS",
    "WAN_SPEC_NAMES",
    "Account",
    "Advice",
    "Attachment",
    "Condition",
    "Delta",
    "Dora",
    "Expert",
    "Full",
    "GenerationRequest",
    "LoHa",
    "LoKr",
    "LoadedLora",
    "LoadedStack",
    "Lora",
    "LoraCoreError",
    "LoraEntry",
    "LoraFileError",
    "LoraMismatchError",
    "LoraReport",
    "LoraStack",
    "LoraWeights",
    "ModelError",
    "ModelSpec",
    "OutputError",
    "PlanError",
    "RequestError",
    "Route",
    "RoutedLora",
    "RunSettings",
    "SamplingPlan",
    "StackError",
    "StepPlan",
    "StrengthSchedule",
    "TargetFilter",
    "TensorRecord",
    "UnsupportedLoraError",
    "Video",
    "WanModel",
    "WanVideoGenerator",
    "attach",
    "blend",
    "contact_sheet",
    "draw_noise",
    "find_twin",
    "flow_sigmas",
    "generate",
    "infer_wan_spec",
    "inspect_lora",
    "load_stack",
    "make_plan",
    "open_wan",
    "plan_request",
    "read_lora",
    "read_video",
    "request_from_record",
    "route",
    "sample",
    "save_video",
    "stack_from_record",
    "wan_spec",
    "write_lora",
]

#: Where each of them is.
_HOMES = {
    "Attachment": "apply.attachment",
    "attach": "apply.attachment",
    "Delta": "deltas",
    "Dora": "deltas",
    "Full": "deltas",
    "LoHa": "deltas",
    "LoKr": "deltas",
    "Lora": "deltas",
    "Video": "engine.generate",
    "generate": "engine.generate",
    "plan_request": "engine.generate",
    "WanVideoGenerator": "engine.generator",
    "request_from_record": "engine.record",
    "stack_from_record": "engine.record",
    "GenerationRequest": "engine.request",
    "LoraCoreError": "errors",
    "LoraFileError": "errors",
    "LoraMismatchError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "PlanError": "errors",
    "RequestError": "errors",
    "StackError": "errors",
    "UnsupportedLoraError": "errors",
    "Expert": "experts",
    "find_twin": "experts",
    "ModelSpec": "families.base",
    "Condition": "families.condition",
    "WanModel": "families.wan.model",
    "open_wan": "families.wan.open",
    "WAN_SPEC_NAMES": "families.wan.spec",
    "infer_wan_spec": "families.wan.spec",
    "wan_spec": "families.wan.spec",
    "Account": "files.account",
    "TensorRecord": "files.account",
    "read_lora": "files.read",
    "LoraReport": "files.report",
    "inspect_lora": "files.report",
    "LoraWeights": "files.weights",
    "write_lora": "files.write",
    "contact_sheet": "media.contact_sheet",
    "read_video": "media.video",
    "save_video": "media.video",
    "Advice": "plan.advice",
    "SamplingPlan": "plan.plan",
    "StepPlan": "plan.plan",
    "make_plan": "plan.planning",
    "Route": "plan.route",
    "RoutedLora": "plan.route",
    "route": "plan.routing",
    "RunSettings": "plan.settings",
    "flow_sigmas": "plan.sigmas",
    "draw_noise": "sampling.noise",
    "sample": "sampling.sample",
    "SOLVERS": "sampling.solvers",
    "blend": "stack.blend",
    "LoraEntry": "stack.entry",
    "LoadedLora": "stack.loaded",
    "LoadedStack": "stack.loaded",
    "load_stack": "stack.loading",
    "StrengthSchedule": "stack.schedule",
    "LoraStack": "stack.stack",
    "TargetFilter": "stack.target_filter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
