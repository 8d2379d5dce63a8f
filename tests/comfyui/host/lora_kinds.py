"""LoRA files of every kind that core reads, for the tiny models of native.py, in the spelling that core reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from native import WIDE
from safetensors.torch import save_file
from torch import Tensor
from wanloom.lora_core.families.wan.names import to_diffusers
from wanloom.lora_core.families.wan.spec import WanSize, shapes_of

RANK = 4
Shape = tuple[int, ...]
#: (target's shape) -> the end of a tensor's name -> the tensor; nothing where the kind does not fit the target.
Make = Callable[[Shape], Mapping[str, Tensor]]


def lora(shape: Shape) -> Mapping[str, Tensor]:
    ones = [1] * (len(shape) - 2)
    down, up = torch.randn(RANK, *shape[1:]), torch.randn(shape[0], RANK, *ones)
    return {"lora_down.weight": 0.1 * down, "lora_up.weight": 0.1 * up, "alpha": torch.tensor(RANK / 2)}


def dora_by_input(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2:
        return {}
    return {**lora(shape), "dora_scale": 0.5 + torch.rand(1, shape[1])}


def dora(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2:
        return {}
    return {**lora(shape), "dora_scale": 0.5 + torch.rand(shape[0], 1)}


def loha(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2:
        return {}
    names = {"hada_w1_a": (shape[0], RANK), "hada_w1_b": (RANK, shape[1])}
    names |= {"hada_w2_a": (shape[0], RANK), "hada_w2_b": (RANK, shape[1])}
    return {**{name: 0.3 * torch.randn(size) for name, size in names.items()}, "alpha": torch.tensor(2.0)}


def lokr(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2:
        return {}
    return {"lokr_w1": 0.2 * torch.randn(2, 4), "lokr_w2": 0.2 * torch.randn(shape[0] // 2, shape[1] // 4)}


def lokr_low_rank(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2:
        return {}
    second = {"lokr_w2_a": 0.2 * torch.randn(shape[0] // 2, RANK), "lokr_w2_b": torch.randn(RANK, shape[1] // 4)}
    return {"lokr_w1": 0.2 * torch.randn(2, 4), **second, "alpha": torch.tensor(3.0)}


def diff(shape: Shape) -> Mapping[str, Tensor]:
    return {"diff": 0.03 * torch.randn(shape), "diff_b": 0.1 * torch.randn(shape[0])}


def lora_mid(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) != 4 or shape[2:] == (1, 1):
        return {}
    down, up = 0.3 * torch.randn(RANK, shape[1], 1, 1), 0.3 * torch.randn(shape[0], RANK, 1, 1)
    return {
        "lora_down.weight": down,
        "lora_up.weight": up,
        "lora_mid.weight": 0.3 * torch.randn(RANK, RANK, *shape[2:]),
    }


def glora(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2:
        return {}
    sizes = {"a1": (shape[1], RANK), "a2": (RANK, shape[1]), "b1": (shape[0], RANK), "b2": (RANK, shape[1])}
    return {**{f"{name}.weight": 0.15 * torch.randn(size) for name, size in sizes.items()}, "alpha": torch.tensor(2.0)}


def glora_old(shape: Shape) -> Mapping[str, Tensor]:
    """Return a GLoRA as LyCORIS wrote it first, the factors in the other order."""
    found = glora(shape)
    swapped = {"a1": "a2", "a2": "a1", "b1": "b2", "b2": "b1", "alpha": "alpha"}
    return {name.replace(name[:2], swapped[name[:2]]) if name != "alpha" else name: found[name] for name in found}


def oft(shape: Shape) -> Mapping[str, Tensor]:
    return {} if shape[0] % 4 else {"oft_blocks": 0.2 * torch.randn(4, shape[0] // 4, shape[0] // 4)}


def oft_constrained(shape: Shape) -> Mapping[str, Tensor]:
    return {**found, "alpha": torch.tensor(0.5)} if (found := oft(shape)) else {}


def boft(shape: Shape) -> Mapping[str, Tensor]:
    if len(shape) > 2 or shape[0] % 16:
        return {}
    blocks = 0.3 * torch.randn(3, shape[0] // 4, 4, 4)
    return {"oft_blocks": blocks, "rescale": 0.8 + 0.4 * torch.rand(shape[0], 1), "alpha": torch.tensor(9.0)}


def replaced(shape: Shape) -> Mapping[str, Tensor]:
    return {"set_weight": torch.randn(shape) / shape[-1] ** 0.5}


#: Kinds of changes of layers that multiply.
LAYERS: Mapping[str, Make] = {
    "LoRA": lora,
    "DoRA by input": dora_by_input,
    "LoHa": loha,
    "LoKr": lokr,
    "LoKr of low rank": lokr_low_rank,
    "diff and diff_b": diff,
}


def layer_tensors(
    make: Make, size: WanSize = WIDE, seed: int = 0, prefix: str = "diffusion_model."
) -> dict[str, Tensor]:
    """Return the tensors of a LoRA on every layer that multiplies."""
    torch.manual_seed(seed)
    return {
        f"{prefix}{target}.{leaf}": tensor
        for target, shape in shapes_of(size).items()
        if len(shape) in (2, 5)
        for leaf, tensor in make(shape).items()
    }


def norm_tensors(size: WanSize = WIDE) -> dict[str, Tensor]:
    """Return differences of the norms, as LyCORIS writes them."""
    torch.manual_seed(1)
    tensors = {}
    for target, shape in shapes_of(size).items():
        path = target.removesuffix(".bias")
        if "norm" in target:
            leaf = "b_norm" if target.endswith(".bias") else "w_norm"
            tensors[f"diffusion_model.{path}.{leaf}"] = 0.3 * torch.randn(shape)
    return tensors


def table_tensors(size: WanSize = WIDE) -> dict[str, Tensor]:
    """Return differences of the tables that belong to no layer."""
    torch.manual_seed(2)
    return {
        f"diffusion_model.{target}.diff": 0.3 * torch.randn(shape)
        for target, shape in shapes_of(size).items()
        if target.endswith("modulation")
    }


#: Every kind that core reads -> the tensors of a file for a model of a size.
FILES: Mapping[str, Callable[[WanSize], Mapping[str, Tensor]]] = {
    **{name: lambda size, make=make: layer_tensors(make, size) for name, make in LAYERS.items()},
    "w_norm and b_norm": norm_tensors,
}

#: Kinds that core gives another meaning than a share of the way at strengths other than 1.
OF_BASE: Mapping[str, Make] = {
    "GLoRA": glora,
    "GLoRA of old": glora_old,
    "OFT": oft,
    "OFT with a constraint": oft_constrained,
    "BOFT": boft,
    "set_weight": replaced,
}

#: Kinds that core reads and does something else with: it divides by another norm, and 0.33 never applies what it has
#: read for a parameter of a module that has children.
BEYOND_CORE: Mapping[str, Callable[[WanSize], Mapping[str, Tensor]]] = {
    "DoRA by output": lambda size: layer_tensors(dora, size),
    "modulation's diff": table_tensors,
}


def to_diffusers_path(path: str) -> str:
    name = to_diffusers(f"{path}.weight")
    assert name is not None
    return name.removesuffix(".weight")


#: Dialect -> prefix, module path of a native one.
NOT_READ_BY_CORE: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "transformer.": ("transformer.", to_diffusers_path),
    "bare": ("", lambda path: path),
    "bare diffusers": ("", to_diffusers_path),
    "base_model.model.": ("base_model.model.", to_diffusers_path),
    "base_model.model. native": ("base_model.model.", lambda path: path),
}


def spelled(size: WanSize, prefix: str, path: Callable[[str], str]) -> dict[str, Tensor]:
    """Return one and the same LoRA, without alpha, under the names of a dialect."""
    torch.manual_seed(3)
    tensors = {}
    for target, shape in shapes_of(size).items():
        if len(shape) == 2:
            tensors[f"{prefix}{path(target)}.lora_A.weight"] = 0.1 * torch.randn(RANK, shape[1])
            tensors[f"{prefix}{path(target)}.lora_B.weight"] = 0.1 * torch.randn(shape[0], RANK)
    return tensors


def save(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.unlink(missing_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return path
