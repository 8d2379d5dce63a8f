"""The writing of a LoRA file, whole or not at all, and compared with the weights before it takes its place."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import replacing
from ..checkpoints.saving import save_tensors
from ..checks import known, typed
from ..deltas import Boft, Delta, Dora, Full, Oft, Replacement
from ..errors import LoraFileError, OutputError
from ..experts import EXPERTS
from ..families.base import ModelSpec
from ..families.registry import family_of_targets
from .dialects import DIALECTS, WriteDialect
from .encode import encode, stored_form
from .expert import EXPERT_KEY
from .forms import in_form_of
from .read import read_lora
from .scale import CONFIG_NAME, KOHYA_ALPHA, METADATA_KEY, states_scale
from .weights import LoraWeights, outlines_of

_log = logging.getLogger(__name__)


def checked_name(path: Path) -> Path:
    """Return the name of a file to write a LoRA to, or say that its ending is that of something else."""
    if path.suffix.lower() != ".safetensors":
        raise OutputError(
            path,
            f"LoRA files are not written as {path.suffix!r}",
            expected=".safetensors",
            remedy="Change the ending of the name",
        )
    return path


@typed(LoraFileError)
def write_lora(
    weights: LoraWeights,
    path: str | Path,
    *,
    dialect: WriteDialect = "comfyui",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write weights to a `.safetensors` file, read it back, compare, and only then put it in its place.

    `comfyui` and `kohya` carry alpha tensors. `diffusers` and `peft` have none, so there the scale is multiplied into
    the tensors (`encode`). Ranks that differ are stated in the metadata of `diffusers`. `peft` also writes the
    adapter_config.json that `PeftModel.from_pretrained` wants beside it.

    Args:
        weights: what to write.
        path: the file, whose folder is made if there is none.
        dialect: the spelling; a delta it has no words for is an error.
        metadata: entries to add to, or to put in place of, the weights' own.

    Raises:
        UnsupportedLoraError: the dialect cannot express some of the deltas; all of them are named.
        OutputError: the folder cannot be written to, or the disk is full; what was there is still there.
    """
    path = checked_name(Path(path))
    known(dialect, DIALECTS, "dialect", LoraFileError)
    weights = in_form_of(weights, dialect)
    tensors = encode(weights, dialect, path)
    if not tensors:
        raise LoraFileError(path, "there are no deltas to write", remedy="Train or read some first")
    config = _peft_config(weights, tensors, path) if dialect == "peft" else None
    stated = _stated_ranks(tensors) if dialect == "diffusers" else {}
    _make_folder(path)
    with replacing(path) as temporary:
        save_tensors(_owned(tensors), temporary, _metadata(weights, dialect, stated | dict(metadata or {})))
        _compare(weights, temporary, path)
    if config is not None:
        with replacing(path.parent / CONFIG_NAME) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _log.info("%s: wrote %d tensors in the %s dialect", path.name, len(tensors), dialect)
    return path


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(path, f"its folder cannot be made: {error}", remedy="Choose another folder") from error


def _owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with memory of their own; safetensors refuses those that share it, as fused ones do."""
    owned: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        is_own = storage.nbytes() == tensor.numel() * tensor.element_size() and storage.data_ptr() not in taken
        taken.add(storage.data_ptr())
        owned[name] = tensor if is_own else tensor.clone()
    return owned


def _metadata(weights: LoraWeights, dialect: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata to write: no entry that would scale the tensors once more, and the expert if it is known."""
    kept = {key: value for key, value in weights.metadata.items() if not states_scale(key)}
    expert = {EXPERT_KEY: weights.expert} if weights.expert in EXPERTS else {}
    entries = {"format": "pt", **kept, **expert, **extra}
    if not _all_have_alpha(weights, dialect):
        entries.pop(KOHYA_ALPHA, None)
    return {str(key): str(value) for key, value in entries.items()}


def _all_have_alpha(weights: LoraWeights, dialect: str) -> bool:
    """Say whether every delta is stored with an alpha of its own; readers give the others kohya's from the metadata."""
    halves = (weights.deltas, weights.low_noise_deltas or {})
    deltas = (delta for half in halves for delta in outlines_of(half).values() if not isinstance(delta, Full))
    return DIALECTS[dialect].has_alpha and all(_rank_of(delta) is not None for delta in deltas)


def _rank_of(delta: Any) -> int | None:
    """Return the rank that alpha is divided by; None for a delta that no alpha can scale. No value of it is read."""
    inner = delta.inner if isinstance(delta, Dora) else delta
    return None if isinstance(inner, (Boft, Oft, Replacement)) else stored_form(replace(inner, scale=1.0)).rank


def _compare(weights: LoraWeights, written: Path, path: Path) -> None:
    """Read a written file back and refuse it if it does not hold the same deltas."""
    pairs = [(weights.deltas, "deltas")]
    if weights.low_noise_deltas is not None:
        pairs.append((weights.low_noise_deltas, "low_noise_deltas"))
    shapes = {target: delta.shape for deltas, _ in pairs for target, delta in deltas.items()}
    family = family_of_targets(shapes)
    aliases = {} if family is None else family.grammar().aliases
    spec = ModelSpec("written", "the weights just written", shapes, aliases, family.name if family else "")
    back = read_lora(written, spec=spec)
    for deltas, attribute in pairs:
        read = getattr(back, attribute) or {}
        different = [target for target in deltas if target not in read or not same(deltas[target], read[target])]
        if different:
            what = f"{different[0]} was written and read back differently"
            raise OutputError(
                path, what, expected="the same delta", remedy="Report this with the LoRA's kind and dialect"
            )


def same(first: Delta, second: Delta) -> bool:
    """Say whether two deltas are of one kind and shape and have the same tensors, scale included."""
    one, two = stored_form(first, fold=True), stored_form(second, fold=True)
    if (one.kind, first.shape, one.by_input) != (two.kind, second.shape, two.by_input):
        return False
    pairs = [(one.tensors.get(field), two.tensors.get(field)) for field in {*one.tensors, *two.tensors}]
    pairs.append((one.magnitude, two.magnitude))
    return all(_close(*pair) for pair in pairs)


def _close(first: Tensor | None, second: Tensor | None) -> bool:
    """Compare to the last bits of float32: a scale is folded, and a quotient of alpha rounded, in it."""
    if first is None or second is None:
        return first is second
    first, second = first.float().flatten().cpu(), second.float().flatten().cpu()
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-6, atol=0)


def _stated_ranks(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata that tells diffusers the ranks and alphas, or none where one rank is everyone's.

    Without it diffusers 0.36 takes the first module's rank for the alpha of all, and so scales the others wrongly.
    """
    configs = {
        prefix.text: _adapter_config(tensors, prefix.text)
        for prefix in DIALECTS["diffusers"].prefixes
        if prefix and any(name.startswith(prefix.text) for name in tensors)
    }
    if not any(config["rank_pattern"] for config in configs.values()):
        return {}
    entries = {f"{prefix}{key}": value for prefix, config in configs.items() for key, value in config.items()}
    return {METADATA_KEY: json.dumps(entries)}


def _peft_config(weights: LoraWeights, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Return the adapter_config.json to write beside an adapter."""
    config = path.parent / CONFIG_NAME
    if config.exists() and not path.exists():
        remedy = "Write into a folder of its own"
        raise OutputError(path, f"the {CONFIG_NAME} beside it belongs to another adapter", remedy=remedy)
    return _adapter_config(tensors, DIALECTS["peft"].prefixes[0].text)


def _adapter_config(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    """Return PEFT's configuration of an adapter whose scale is already inside its tensors: alpha = rank."""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    leaves = DIALECTS["peft"].leaves

    def holding(kind: str, field: str) -> dict[str, Tensor]:
        """Return module -> tensor of every module that has this field."""
        leaf = f".{leaves[kind, field]}"
        return {name.removesuffix(leaf): tensor for name, tensor in tensors.items() if name.endswith(leaf)}

    halves = holding("loha", "w1b") or holding("lora", "down")
    ranks = {module: tensor.shape[0] for module, tensor in halves.items()}
    rank = max(ranks.values())
    pattern = {module: own for module, own in ranks.items() if own != rank}
    common = {"r": rank, "target_modules": sorted(ranks), "rank_pattern": pattern, "alpha_pattern": pattern}
    if holding("loha", "w1b"):
        return {"peft_type": "LOHA", **common, "alpha": rank, "use_effective_conv2d": False}
    extras = {"use_dora": bool(holding("dora", "magnitude")), "lora_bias": bool(holding("bias", "diff"))}
    return {"peft_type": "LORA", **common, "lora_alpha": rank, **extras}
