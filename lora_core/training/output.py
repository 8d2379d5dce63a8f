"""What a training leaves: one file for each expert, LoRAs or whole weights, all of them or none.

Dtype policy: tensors are written in the dtype asked for; without one as they are.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from ..atomic import replacing_all
from ..checkpoints.saving import save_tensors
from ..checks import first_few, shape_text
from ..deltas import Delta, Dora
from ..errors import OutputError, TrainingError, relocated
from ..experts import EXPERTS, Expert
from ..families.base import ModelSpec, target_of
from ..files.encode import stored_form
from ..files.scale import KOHYA_ALPHA
from ..files.values import num_not_finite
from ..files.weights import LoraWeights
from ..files.write import write_lora
from .facts import RunFacts, metadata_of

_log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
#: (the expert, the file to write to, how it will be called, its metadata)
_Write = Callable[[Expert, Path, Path, Mapping[str, str]], None]


def output_paths(folder: str | Path, name: str, facts: RunFacts) -> dict[Expert, Path]:
    """Return the files that a training leaves: a pair for a model of two experts, one file for a model of one."""
    if not name or name != Path(name).name:
        raise OutputError(name, "is no file's name", expected="letters without slashes", remedy="Choose another name")
    trained = [expert for expert in EXPERTS if expert in facts.experts]
    if facts.num_experts == 1 and len(trained) > 1:
        raise TrainingError(facts.base, "two experts were trained", expected="the one it has", remedy="Name that one")
    ends = {expert: f"_{expert}" if facts.num_experts == 2 else "" for expert in trained}
    return {expert: Path(folder) / f"{name}{end}{_SUFFIX}" for expert, end in ends.items()}


def write_pair(
    deltas: Mapping[Expert, Mapping[str, Delta]],
    folder: str | Path,
    name: str,
    facts: RunFacts,
    *,
    dtype: torch.dtype | None = None,
) -> dict[Expert, Path]:
    """Write the LoRA of each expert in ComfyUI's dialect, read it back and compare; all take their places, or none.

    ComfyUI, diffusers and kohya's tools load them as they are, but for what they do not know: diffusers no DoRA, LoHa
    or LoKr in this dialect, and ComfyUI divides a DoRA by the norm of the base.

    Args:
        deltas: of every expert that `facts` tell of: target -> delta.
        folder: where to; made if there is none.
        name: `<name>_high_noise.safetensors` and `<name>_low_noise.safetensors`; `<name>.safetensors` where the model
            has one expert.
        facts: what the metadata tell.
        dtype: of the tensors.

    Raises:
        TrainingError: an expert is missing, or a value is not finite.
        OutputError: a file could not be written; then none is, and what was there still is.
    """
    _same_experts(deltas, facts)
    cast = {expert: _cast_all(own, dtype, expert) for expert, own in deltas.items()}

    def write(expert: Expert, file: Path, path: Path, metadata: Mapping[str, str]) -> None:
        told = dict(metadata) | _network_of(cast[expert])
        stated = expert if facts.num_experts == 2 else None
        write_lora(LoraWeights(path, path.stem, cast[expert], metadata=told, expert=stated), file)

    return _write_all(folder, name, facts, write)


def write_weights(
    states: Mapping[Expert, Callable[[], Mapping[str, Tensor]]],
    folder: str | Path,
    name: str,
    facts: RunFacts,
    *,
    spec: ModelSpec,
    header: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> dict[Expert, Path]:
    """Write all weights of each expert under native names, as ComfyUI's `diffusion_models` are; all, or none.

    Args:
        states: expert -> what gives its parameters, under any of the family's names; asked for one at a time.
        folder: as for `write_pair`, like the next two.
        name: of the files, without what tells the expert.
        facts: what the metadata tell.
        spec: the model's, which says what belongs to it.
        header: what its family's `header` says of the network, for who opens the file.
        dtype: of the tensors.
    """
    _same_experts(states, facts)

    def write(expert: Expert, file: Path, path: Path, metadata: Mapping[str, str]) -> None:
        state = native_state(states[expert](), spec, path)
        _check_finite(state.items(), expert)
        _write_state(state, file, path, {"format": "pt", **metadata, **header}, dtype)
        _log.info("%s: wrote %d tensors", path.name, len(state))

    return _write_all(folder, name, facts, write)


def native_state(state: Mapping[str, Tensor], spec: ModelSpec, where: object) -> dict[str, Tensor]:
    """Return parameters under native names, all that the model has and nothing else."""
    named = {_native(name, spec) or name: tensor for name, tensor in state.items()}
    shapes = {target_of(name): tuple(tensor.shape) for name, tensor in named.items()}
    lacking = [target for target in spec.shapes if target not in shapes]
    strange = [target for target in shapes if target not in spec.shapes]
    if lacking or strange:
        what = f"weights that are missing: {first_few(lacking) or 'none'}; unknown ones: {first_few(strange) or 'none'}"
        raise TrainingError(
            where,
            what,
            expected=f"the {len(spec.shapes)} parameters of {spec.title}",
            remedy="Train again from a sound checkpoint",
        )
    wrong = next((target for target, shape in shapes.items() if shape != tuple(spec.shapes[target])), None)
    if wrong is not None:
        expected = shape_text(spec.shapes[wrong])
        raise TrainingError(
            where,
            f"{wrong!r} is {shape_text(shapes[wrong])}",
            expected=expected,
            remedy="Train again from a sound checkpoint",
        )
    return named


def _write_all(folder: str | Path, name: str, facts: RunFacts, write: _Write) -> dict[Expert, Path]:
    paths = output_paths(folder, name, facts)
    with replacing_all(tuple(paths.values())) as temporaries:
        for (expert, path), temporary in zip(paths.items(), temporaries, strict=True):
            with relocated(lambda inner, path=path: str(path)):  # type: ignore[misc]  # mypy has no words for this
                write(expert, temporary, path, metadata_of(facts, expert, path.stem))
    return paths


def _same_experts(given: Mapping[Expert, object], facts: RunFacts) -> None:
    if set(given) != set(facts.experts):
        what = f"weights of {', '.join(given) or 'no expert'}"
        raise TrainingError(
            "output", what, expected=f"those that were trained: {', '.join(facts.experts)}", remedy="Give those"
        )


def _cast_all(deltas: Mapping[str, Delta], dtype: torch.dtype | None, expert: Expert) -> dict[str, Delta]:
    cast = {target: delta if dtype is None else _cast(delta, dtype) for target, delta in deltas.items()}
    _check_finite(((target, tensor) for target, delta in cast.items() for tensor in delta.tensors()), expert)
    return cast


def _cast(delta: Delta, dtype: torch.dtype) -> Delta:
    if isinstance(delta, Dora):
        return Dora(_cast(delta.inner, dtype), delta.magnitude.to(dtype))
    values = ((field.name, getattr(delta, field.name)) for field in fields(delta))
    return replace(delta, **{name: value.to(dtype) for name, value in values if isinstance(value, Tensor)})


def _check_finite(tensors: object, expert: Expert) -> None:
    for name, tensor in tensors:  # type: ignore[attr-defined]
        if count := num_not_finite(tensor):
            what = f"{count:,} of {tensor.numel():,} values of {name!r} are NaN or infinite"
            remedy = "Go on from an earlier checkpoint, with a lower learning rate"
            raise TrainingError(expert, what, expected="finite numbers", remedy=remedy)


def _network_of(deltas: Mapping[str, Delta]) -> dict[str, str]:
    """Return kohya's entries for the rank and alpha that most deltas have."""
    forms = [stored_form(delta) for delta in deltas.values()]
    ranks = Counter(form.rank for form in forms if form.rank is not None)
    if not ranks:
        return {}
    alphas = Counter(form.scale * form.rank for form in forms if form.rank is not None)
    rank, alpha = ranks.most_common(1)[0][0], alphas.most_common(1)[0][0]
    return {"ss_network_dim": str(rank), KOHYA_ALPHA: f"{alpha:g}"}


def _native(name: str, spec: ModelSpec) -> str | None:
    path, _, leaf = name.rpartition(".")
    if leaf in ("weight", "bias") and (found := spec.find(path)) is not None:
        return f"{found}.{leaf}"
    return spec.find(name)


def _write_state(
    state: Mapping[str, Tensor], file: Path, path: Path, metadata: Mapping[str, str], dtype: torch.dtype | None
) -> None:
    from safetensors import safe_open

    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items()}
    save_tensors(tensors, file, metadata)
    with safe_open(file, framework="pt") as back:
        different = next((name for name in tensors if not torch.equal(back.get_tensor(name), tensors[name])), None)
    if different is not None:
        raise OutputError(
            path,
            f"{different!r} was written and read back differently",
            expected="the same values",
            remedy="Write it to another disk",
        )
