"""The ComfyUI nodes, thin over `lora_core`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .bake import BakeLoraStack
from .balance import LoraBalance
from .blend import BlendLoras
from .check_clips import CheckClips
from .grid import LoraGrid
from .inspect import InspectLora
from .load import LoadWanModel, PairWanModels, SplitWanModel
from .lora_cards import serve_cards
from .mask_lora import MaskLora
from .merge import MergeLoras
from .presets import LoadLoraStack, SaveLoraStack
from .radial import RadialAttention
from .refine_prompt import RefinePrompt
from .route import LoraRouteByNoise
from .sample import Sampler6Step
from .scenes import SceneLoras
from .stack import ApplyLoraStack
from .stack_on_models import LoraStackOnModels
from .steer import SteerByModel
from .templates import serve_templates
from .train import TrainLoraFromClips

NODES: list[type[io.ComfyNode]] = [
    LoadWanModel,
    PairWanModels,
    SplitWanModel,
    ApplyLoraStack,
    MaskLora,
    LoraStackOnModels,
    BakeLoraStack,
    MergeLoras,
    LoraRouteByNoise,
    Sampler6Step,
    LoraGrid,
    SteerByModel,
    RadialAttention,
    SaveLoraStack,
    LoadLoraStack,
    InspectLora,
    LoraBalance,
    BlendLoras,
    SceneLoras,
    RefinePrompt,
    TrainLoraFromClips,
    CheckClips,
]


class WanLoomExtension(ComfyExtension):
    """The extension, as ComfyUI asks it for the nodes."""

    async def on_load(self) -> None:
        serve_templates()
        serve_cards()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    return WanLoomExtension()
