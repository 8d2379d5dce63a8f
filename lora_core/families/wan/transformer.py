"""Wan transformers as diffusers modules, from native or diffusers-named checkpoints, 8-bit ones and GGUF.

Dtype policy: parameters compute in the dtype asked for, except those diffusers keeps in float32 (time embedding,
modulation, norms without heads); 8-bit and GGUF block weights stay packed and are widened when their layer runs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoints.building import build_module, check_state
from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.fp8 import describes_quantisation, place_fp8_layers, split_fp8
from ...checkpoints.residency import Network
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from .names import to_diffusers, to_native
from .spec import checkpoint_prefix, infer_wan_spec

#: Relatives of Wan that have networks of their own: what their tensor names begin with, and what they are.
_RELATIVES: tuple[tuple[str, str], ...] = (
    ("vace_", "VACE"),
    ("control_adapter", "Fun camera control"),
    ("ref_conv", "Fun control"),
    ("casual_audio_encoder", "S2V (sound to video)"),
    ("audio_proj", "HuMo"),
    ("face_adapter", "Animate"),
    ("motion_encoder", "Animate"),
    ("patch_embedding_pose", "SCAIL"),
    ("patch_embedding_global", "WanDancer"),
)


def transformer_spec(checkpoint: Checkpoint, num_experts: int | None) -> ModelSpec:
    """Return the spec of a checkpoint, refusing what is no Wan transformer, or a relative of Wan, by its name."""
    names = {name: shape for name, shape in checkpoint.shapes.items() if not describes_quantisation(name)}
    if checkpoint_prefix(names) is None:
        first = ", ".join(list(names)[:2])
        raise ModelError(
            checkpoint.path,
            said("is no Wan transformer, its tensors are named {first}, …", first=first),
            expected="blocks.0.self_attn.q.weight or blocks.0.attn1.to_q.weight, …",
            remedy="Choose a Wan model",
        )
    spec = infer_wan_spec(names, num_experts=num_experts, where=checkpoint.path)
    for target in spec.shapes:
        for start, relative in _RELATIVES:
            if target.startswith(start):
                raise ModelError(
                    checkpoint.path,
                    said("is a Wan {relative} model, which cannot be opened yet", relative=relative),
                    remedy="Choose a T2V, I2V, FLF2V or TI2V model",
                )
    return spec


def load_transformer(checkpoint: Checkpoint, config: Mapping[str, Any], dtype: torch.dtype) -> Network:
    """Read a transformer; its tensors stay memory-mapped until they are placed."""
    from diffusers import WanTransformer3DModel

    if checkpoint.is_gguf:
        return _load_gguf(checkpoint, config, dtype)
    prefix = checkpoint_prefix(checkpoint.shapes) or ""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors().items()}
    split = split_fp8(tensors, checkpoint.metadata, checkpoint.path, keep=_stays_8_bit, prefix=prefix)
    layers = {_diffusers_path(path): layer for path, layer in split.layers.items()}
    state = {_diffusers_name(name): tensor for name, tensor in split.tensors.items()}
    whole = state | {f"{path}.weight": weight for path, (weight, _) in layers.items()}
    module = build_module(lambda: WanTransformer3DModel.from_config(dict(config)), whole, checkpoint.path)
    place_fp8_layers(module, layers)
    kept_wide = frozenset(WanTransformer3DModel._keep_in_fp32_modules or ())
    packed = {f"{path}.weight" for path in layers}
    dtypes = {
        name: torch.float32 if kept_wide.intersection(name.split(".")) else dtype
        for name, _ in module.named_parameters()
        if name not in packed
    }
    return Network(module, dtypes)


def _load_gguf(checkpoint: Checkpoint, config: Mapping[str, Any], dtype: torch.dtype) -> Network:
    """Let diffusers read the file, with a configuration written down for it so that it asks no hub."""
    from diffusers import GGUFQuantizationConfig, WanTransformer3DModel

    _check_gguf(checkpoint, config)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({"_class_name": "WanTransformer3DModel", **config}))
        module = WanTransformer3DModel.from_single_file(
            str(checkpoint.path),
            config=folder,
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            torch_dtype=dtype,
            local_files_only=True,
        )
    return Network(module)


def _check_gguf(checkpoint: Checkpoint, config: Mapping[str, Any]) -> None:
    """Compare names and shapes ourselves: diffusers' reader leaves what a file lacks without saying so."""
    from accelerate import init_empty_weights
    from diffusers import WanTransformer3DModel

    prefix = checkpoint_prefix(checkpoint.shapes) or ""
    with init_empty_weights():
        module: Any = WanTransformer3DModel(**config)
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    state = {
        _diffusers_name(name.removeprefix(prefix)): torch.empty(shape, device="meta")
        for name, shape in checkpoint.shapes.items()
    }
    check_state(wanted, state, checkpoint.path)


def _stays_8_bit(name: str, tensor: Tensor) -> bool:
    """Keep the blocks' linear weights 8-bit: nearly all the bytes, and layers that nobody asks for their dtype."""
    return name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2


def _diffusers_name(name: str) -> str:
    """Return diffusers' name of a native or diffusers parameter name; unknown names stay, to be reported."""
    return name if to_native(name) else to_diffusers(name) or name


def _diffusers_path(path: str) -> str:
    return _diffusers_name(f"{path}.weight").removesuffix(".weight")
