"""WanLoom's core: LoRA files, stacks, routing, plans, fused layers and sampling for Wan video models, without a host.

The names below are the public API. Importing the package loads none of them, and neither torch: each is imported when
it is first asked for, for every start of a host and every page of help waits for what is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apply.attachment import Attachment, attach
    from .attention.controller import RadialController, make_controller
    from .attention.dense import DenseRule
    from .attention.settings import RadialSettings, usual_radial
    from .attention.wishes import RadialWishes
    from .balance.ablate import Ablation, ablate
    from .balance.balance import StackBalance, balance_stack
    from .comparison.compare import Compared, compare
    from .comparison.config import CompareConfig, make_comparison, read_comparison
    from .deltas import Delta, Dora, Full, LoHa, LoKr, Lora
    from .engine.checked import plan_request
    from .engine.generate import Video, generate
    from .engine.generator import WanVideoGenerator
    from .engine.guarding import NoGuardrail, open_guardrail
    from .engine.guide import Guide, guide_from_record
    from .engine.record import radial_from_record, request_from_record, stack_from_record
    from .engine.request import GenerationRequest
    from .engine.world import WorldRequest
    from .errors import (
        DatasetError,
        LoraCoreError,
        LoraFileError,
        LoraMismatchError,
        ModelError,
        OutputError,
        PlanError,
        RequestError,
        StackError,
        TrainingError,
        UnsupportedLoraError,
    )
    from .experts import Expert
    from .experts.twins import find_twin
    from .families.base import ModelSpec
    from .families.condition import Condition
    from .families.cosmos.open import open_cosmos
    from .families.registry import opener
    from .families.wan.model import WanModel
    from .families.wan.open import open_wan
    from .families.wan.spec import WAN_SPEC_NAMES, infer_wan_spec, wan_spec
    from .files.account import Account, TensorRecord
    from .files.extract import extract_checkpoints
    from .files.match import LoraMatch, match_lora
    from .files.post_trained import PostTrained, extract_post_trained
    from .files.read import read_lora
    from .files.report import LoraReport, inspect_lora
    from .files.stated import StatedLora
    from .files.weights import LoraWeights
    from .files.write import write_lora
    from .grids.axis import Axis
    from .grids.grid import Grid
    from .grids.make import MadeGrid, make_grid, plan_grid
    from .grids.read import read_grid
    from .media.contact_sheet import contact_sheet
    from .media.video import read_video, save_video
    from .merging.merge import merge_loras
    from .merging.merged import Merged
    from .merging.recipe import MergeRecipe
    from .merging.resize import Resized, resize_lora
    from .plan.advice import Advice
    from .plan.plan import SamplingPlan, StepPlan
    from .plan.planning import make_plan
    from .plan.route import Route, RoutedLora
    from .plan.routing import route
    from .plan.settings import RunSettings
    from .plan.sigmas import flow_sigmas, karras_sigmas
    from .plan.steering import Steering, SteerSettings, steered
    from .refiner.command import CommandRefiner
    from .refiner.endpoint import EndpointRefiner
    from .refiner.instructions import find_instructions
    from .refiner.language_model import LanguageModel
    from .refiner.local import LocalRefiner
    from .refiner.opening import open_language_model
    from .refiner.refine import refine
    from .refiner.refined import Refined
    from .regions.clip_mask import ClipSize, clip_mask, clip_masks
    from .sampling.guide import GuideNetworks
    from .sampling.noise import draw_noise
    from .sampling.sample import sample
    from .sampling.solvers import SOLVERS
    from .stack.blend import blend
    from .stack.entry import LoraEntry
    from .stack.loaded import LoadedLora, LoadedStack
    from .stack.loading import load_stack
    from .stack.region import Region
    from .stack.schedule import StrengthSchedule
    from .stack.stack import LoraStack
    from .stack.target_filter import TargetFilter
    from .stack.time_curve import TimeCurve
    from .training.clips.prepare import Prepared, prepare
    from .training.config import TrainConfig, make_config, read_config
    from .training.listener import Listener
    from .training.train import Trained, train
    from .transfer.correct import correct_lora
    from .transfer.judging import clips_judge
    from .transfer.transfer import Transfer, transfer_lora

__all__ = [
    "SOLVERS",
    "WAN_SPEC_NAMES",
    "Ablation",
    "Account",
    "Advice",
    "Attachment",
    "Axis",
    "ClipSize",
    "CommandRefiner",
    "CompareConfig",
    "Compared",
    "Condition",
    "DatasetError",
    "Delta",
    "DenseRule",
    "Dora",
    "EndpointRefiner",
    "Expert",
    "Full",
    "GenerationRequest",
    "Grid",
    "Guide",
    "GuideNetworks",
    "LanguageModel",
    "Listener",
    "LoHa",
    "LoKr",
    "LoadedLora",
    "LoadedStack",
    "LocalRefiner",
    "Lora",
    "LoraCoreError",
    "LoraEntry",
    "LoraFileError",
    "LoraMatch",
    "LoraMismatchError",
    "LoraReport",
    "LoraStack",
    "LoraWeights",
    "MadeGrid",
    "MergeRecipe",
    "Merged",
    "ModelError",
    "ModelSpec",
    "NoGuardrail",
    "OutputError",
    "PlanError",
    "PostTrained",
    "Prepared",
    "RadialController",
    "RadialSettings",
    "RadialWishes",
    "Refined",
    "Region",
    "RequestError",
    "Resized",
    "Route",
    "RoutedLora",
    "RunSettings",
    "SamplingPlan",
    "StackBalance",
    "StackError",
    "StatedLora",
    "SteerSettings",
    "Steering",
    "StepPlan",
    "StrengthSchedule",
    "TargetFilter",
    "TensorRecord",
    "TimeCurve",
    "TrainConfig",
    "Trained",
    "TrainingError",
    "Transfer",
    "UnsupportedLoraError",
    "Video",
    "WanModel",
    "WanVideoGenerator",
    "WorldRequest",
    "ablate",
    "attach",
    "balance_stack",
    "blend",
    "clip_mask",
    "clip_masks",
    "clips_judge",
    "compare",
    "contact_sheet",
    "correct_lora",
    "draw_noise",
    "extract_checkpoints",
    "extract_post_trained",
    "find_instructions",
    "find_twin",
    "flow_sigmas",
    "generate",
    "guide_from_record",
    "infer_wan_spec",
    "inspect_lora",
    "karras_sigmas",
    "load_stack",
    "make_comparison",
    "make_config",
    "make_controller",
    "make_grid",
    "make_plan",
    "match_lora",
    "merge_loras",
    "open_cosmos",
    "open_guardrail",
    "open_language_model",
    "open_wan",
    "opener",
    "plan_grid",
    "plan_request",
    "prepare",
    "radial_from_record",
    "read_comparison",
    "read_config",
    "read_grid",
    "read_lora",
    "read_video",
    "refine",
    "request_from_record",
    "resize_lora",
    "route",
    "sample",
    "save_video",
    "stack_from_record",
    "steered",
    "train",
    "transfer_lora",
    "usual_radial",
    "wan_spec",
    "write_lora",
]

#: Where the API is: module -> names.
_MODULES = {
    "apply.attachment": "Attachment attach",
    "attention.controller": "RadialController make_controller",
    "attention.dense": "DenseRule",
    "attention.settings": "RadialSettings usual_radial",
    "attention.wishes": "RadialWishes",
    "balance.ablate": "Ablation ablate",
    "balance.balance": "StackBalance balance_stack",
    "comparison.compare": "Compared compare",
    "comparison.config": "CompareConfig make_comparison read_comparison",
    "deltas": "Delta Dora Full LoHa LoKr Lora",
    "engine.checked": "plan_request",
    "engine.generate": "Video generate",
    "engine.generator": "WanVideoGenerator",
    "engine.guarding": "NoGuardrail open_guardrail",
    "engine.guide": "Guide guide_from_record",
    "engine.record": "radial_from_record request_from_record stack_from_record",
    "engine.request": "GenerationRequest",
    "engine.world": "WorldRequest",
    "errors": "DatasetError LoraCoreError LoraFileError LoraMismatchError ModelError OutputError PlanError "
    "RequestError StackError TrainingError UnsupportedLoraError",
    "experts": "Expert",
    "experts.twins": "find_twin",
    "families.base": "ModelSpec",
    "families.condition": "Condition",
    "families.cosmos.open": "open_cosmos",
    "families.registry": "opener",
    "families.wan.model": "WanModel",
    "families.wan.open": "open_wan",
    "families.wan.spec": "WAN_SPEC_NAMES infer_wan_spec wan_spec",
    "files.account": "Account TensorRecord",
    "files.extract": "extract_checkpoints",
    "files.match": "LoraMatch match_lora",
    "files.post_trained": "PostTrained extract_post_trained",
    "files.read": "read_lora",
    "files.report": "LoraReport inspect_lora",
    "files.stated": "StatedLora",
    "files.weights": "LoraWeights",
    "files.write": "write_lora",
    "grids.axis": "Axis",
    "grids.grid": "Grid",
    "grids.make": "MadeGrid make_grid plan_grid",
    "grids.read": "read_grid",
    "media.contact_sheet": "contact_sheet",
    "media.video": "read_video save_video",
    "merging.merge": "merge_loras",
    "merging.merged": "Merged",
    "merging.recipe": "MergeRecipe",
    "merging.resize": "Resized resize_lora",
    "plan.advice": "Advice",
    "plan.plan": "SamplingPlan StepPlan",
    "plan.planning": "make_plan",
    "plan.route": "Route RoutedLora",
    "plan.routing": "route",
    "plan.settings": "RunSettings",
    "plan.sigmas": "flow_sigmas karras_sigmas",
    "plan.steering": "SteerSettings Steering steered",
    "refiner.command": "CommandRefiner",
    "refiner.endpoint": "EndpointRefiner",
    "refiner.instructions": "find_instructions",
    "refiner.language_model": "LanguageModel",
    "refiner.local": "LocalRefiner",
    "refiner.opening": "open_language_model",
    "refiner.refine": "refine",
    "refiner.refined": "Refined",
    "regions.clip_mask": "ClipSize clip_mask clip_masks",
    "sampling.guide": "GuideNetworks",
    "sampling.noise": "draw_noise",
    "sampling.sample": "sample",
    "sampling.solvers": "SOLVERS",
    "stack.blend": "blend",
    "stack.entry": "LoraEntry",
    "stack.loaded": "LoadedLora LoadedStack",
    "stack.loading": "load_stack",
    "stack.region": "Region",
    "stack.schedule": "StrengthSchedule",
    "stack.stack": "LoraStack",
    "stack.target_filter": "TargetFilter",
    "stack.time_curve": "TimeCurve",
    "training.clips.prepare": "Prepared prepare",
    "training.config": "TrainConfig make_config read_config",
    "training.listener": "Listener",
    "training.train": "Trained train",
    "transfer.correct": "correct_lora",
    "transfer.judging": "clips_judge",
    "transfer.transfer": "Transfer transfer_lora",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
