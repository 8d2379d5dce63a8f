"""WanLoom's core: LoRA files, stacks, routing, plans, fused layers and sampling for Wan video models, without a host.

Importing it loads torch and neither diffusers nor transformers. The names below are the public API.
"""

from .advice import Advice
from .apply import Attachment, attach
from .blend import blend
from .contact_sheet import contact_sheet
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
from .loading import load_stack
from .plan import SamplingPlan, StepPlan, make_plan
from .record import request_from_record, stack_from_record
from .request import GenerationRequest
from .routing import Route, RoutedLora, route
from .sampling.condition import Condition
from .sampling.noise import draw_noise
from .sampling.sample import sample
from .sampling.solvers import SOLVERS
from .schedule import StrengthSchedule
from .sigmas import flow_sigmas
from .stack import LoraStack
from .target_filter import TargetFilter
from .video import read_video, save_video

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
