"""The bystanders in a LoRA file: tensors that change nothing in the model, told by their names, and why they do not."""

from __future__ import annotations

import math
import re

from ..wording import said
from .containers.tensorfile import TensorInfo

#: What stands in the name of a LoRA's own factor.
_FACTOR = r"(lora[._](up|down|mid|A|B|linear_layer)|(lokr|hada)_[wt]\d)\b"

#: (regular expression on a tensor's name, why such a tensor changes nothing). Evidence: who writes it.
_NAMES: tuple[tuple[str, str], ...] = (
    (
        # kohya's trainers and OneTrainer, LyCORIS; diffusers, ComfyUI; the first Stable Diffusion
        r"^(base_model\.model\.)?((lora|lycoris)_)?(te\d*|text_encoders?(_?\d+)?|cond_stage_model)[._]",
        said("belongs to the text encoder, which LoRAs do not change here"),
    ),
    (r"_extra_state$", said("is what a library for fp8 keeps of its own (Transformer Engine)")),  # NVIDIA
    (r"(^|\.)scaled_fp8$", said("marks a checkpoint in scaled fp8")),  # ComfyUI
    (rf"^(?!.*{_FACTOR}).*\.(base_layer|original_module)\.", said("is a copy of the base's own weight")),  # PEFT
    (  # PEFT
        r"\.modules_to_save\.",
        said("is a whole module trained beside the LoRA, of which the model keeps its own"),
    ),
    (
        # ComfyUI, in scaled fp8 and mixed precision; the scale of one of the LoRA's factors is another matter
        rf"^(?!.*{_FACTOR})(.*\.)?(scale_weight|scale_input|weight_scale(_2)?|input_scale|comfy_quant)$",
        said("says how a checkpoint's own weight was quantised"),
    ),
)

#: Names under which trainers store single numbers that count what they have done.
_COUNTER = r"(^|[._])((global|num|total)_)?(steps?|epochs?|iterations?|updates)$"


def why_bystander(name: str, info: TensorInfo) -> str:
    """Return why a tensor that is no part of a delta changes nothing in the model, or ""."""
    told = next((reason for sign, reason in _NAMES if re.search(sign, name)), "")
    if told or math.prod(info.shape) > 1:
        return told
    if 0 in info.shape:
        return said("is empty")
    return said("counts the steps of the training") if re.search(_COUNTER, name) else ""
