"""WanLoom's core: LoRA files, stacks, routing, plans, fused layers and sampling for Wan video models, without a host.

Importing it loads torch and neither diffusers nor transformers. The names below are the public API.
"""

from .advice import Advice
from .apply import Attachment, attach
from .deltas import Delta, Dora, Full, LoHa, LoKr, Lora
from .engine import Video, generate, plan_request
from .entry import LoraEntry
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
from .families.base import Expert, ModelSpec
from .families.wan import WAN_SPEC_NAMES, infer_wan_spec, wan_spec
from .families.wan_model import WanModel
from .families.wan_open import open_wan
from .files import Account, LoraReport, LoraWeights, TensorRecord, find_twin, inspect_lora, read_lora, write_lora
from .generator import WanVideoGenerator
from .plan import SamplingPlan, StepPlan, make_plan
from .request import GenerationRequest
from .routing import Route, RoutedLora, route
from .sampling.sample import sample
from .schedule import StrengthSchedule
from .sigmas import flow_sigmas
from .stack import LoraStack
from .target_filter import TargetFilter
from .video import read_video, save_video

__all__ = [
    "WAN_SPEC_NAMES",
    "Account",
    "Advice",
    "Attachment",
    "Delta",
    "Dora",
    "Expert",
    "Full",
    "GenerationRequest",
    "LoHa",
    "LoKr",
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
    "find_twin",
    "flow_sigmas",
    "generate",
    "infer_wan_spec",
    "inspect_lora",
    "make_plan",
    "open_wan",
    "plan_request",
    "read_lora",
    "read_video",
    "route",
    "sample",
    "save_video",
    "wan_spec",
    "write_lora",
]
