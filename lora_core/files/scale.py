"""The scale of a file's deltas where no alpha tensor states it: from its metadata or an adapter_config.json beside it.

Precedence: the alpha tensor in the file, then the metadata's `lora_adapter_metadata` (diffusers, SimpleTuner), its
`lora_config` (finetrainers), its single entries `lora_alpha` (lightx2v) or `transformer.lora_alpha`, its `ss_*` entries
(kohya's trainers), then adapter_config.json if it belongs to this file (PEFT, diffusion-pipe), then 1.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LoraFileError
from ..experts.twins import twin_names
from ..wording import said
from .containers.opening import CONTAINERS
from .containers.tensorfile import TensorFile

CONFIG_NAME = "adapter_config.json"
METADATA_KEY = "lora_adapter_metadata"
#: The alpha of all modules, as kohya's trainers state it.
KOHYA_ALPHA = "ss_network_alpha"

#: Metadata entries that hold a whole configuration in JSON, the surest first.
_CONFIG_KEYS = (METADATA_KEY, "lora_config")

#: How a configuration, or the metadata themselves, call what makes the scale: PEFT's word for a LoRA first, then its
#: word for LoHa and LoKr, then what other trainers say.
_ALPHA = ("lora_alpha", "alpha", "network_alpha")
_RANK = ("r", "rank", "lora_rank", "network_dim")
_OTHERS = ("alpha_pattern", "rank_pattern", "use_rslora")

#: Networks inside a diffusers pipeline under whose name a configuration may file its entries.
_NETWORKS = ("transformer", "transformer_2")

#: Metadata entries that are a part of a configuration each.
_PLAIN_KEYS = tuple(
    f"{place}{key}" for key in (*_ALPHA, *_RANK, *_OTHERS) for place in ("", *map("{}.".format, _NETWORKS))
)


@dataclass(frozen=True)
class Scale:
    """The scale of every module of a file as its trainer configured it.

    Attributes:
        source: where this was found, for reports.
        alpha, rank: the values for all modules; None where they are not stated.
        alphas, ranks: (pattern of module paths, value) that override them, as PEFT's `alpha_pattern`, `rank_pattern`.
        rank_stabilised: True for rsLoRA, alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732, eq. 4).
    """

    source: str
    alpha: float | None = None
    rank: int | None = None
    alphas: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    rank_stabilised: bool = False

    @property
    def states_alpha(self) -> bool:
        """True when any module's alpha is stated."""
        return self.alpha is not None or bool(self.alphas)

    def of(self, module: str, rank: int | None) -> float:
        """Return the scale of one module; `rank` is that of its tensors, None where they have none."""
        alpha = _matching(self.alphas, module, self.alpha)
        rank = rank or _matching(self.ranks, module, self.rank)
        if alpha is None or not rank:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def agrees(self, ranks: Mapping[str, int]) -> bool:
        """Say whether modules of these ranks can have been trained so."""
        stated = ((_matching(self.ranks, module, self.rank), rank) for module, rank in ranks.items())
        return all(said is None or said == rank for said, rank in stated)


def scale_from_metadata(file: TensorFile, *, from_kohya: bool, low_noise: bool) -> Scale | None:
    """Return the scale that the metadata states, or None.

    Args:
        file: the open file.
        from_kohya: True when the tensors carry kohya's names. musubi-tuner's conversion to `lora_A/lora_B` multiplies
            alpha into the tensors and leaves its `ss_*` entries standing, so for other names they count for nothing.
        low_noise: True to look for the entries of the second transformer first.
    """
    for key in _CONFIG_KEYS:
        if key in file.metadata:
            config = _object(file.path, f"metadata {key!r}", file.metadata[key])
            scale = _from_config(file.path, f"metadata {key}", _of_network(config, low_noise))
            if scale.states_alpha:
                return scale
    entries = {key: file.metadata[key] for key in _PLAIN_KEYS if _is_given(file.metadata.get(key, ""))}
    scale = _from_config(file.path, f"metadata {next(iter(entries), '')}", _of_network(entries, low_noise))
    if scale.states_alpha:
        return scale
    if from_kohya and _number(file.metadata.get(KOHYA_ALPHA)):  # 0 and "None" mean "the rank" to kohya
        return _from_kohya(file)
    return None


def states_scale(key: str) -> bool:
    """Say whether a metadata entry states the scale of tensors under any names; kohya's count for its own alone."""
    return key in _CONFIG_KEYS or key in _PLAIN_KEYS


def _of_network(config: Mapping[str, Any], low_noise: bool) -> Mapping[str, Any]:
    """Return the entries that a configuration files under a network's name, or all where it does not."""
    for network in reversed(_NETWORKS) if low_noise else _NETWORKS:
        entries = {key.partition(".")[2]: value for key, value in config.items() if key.startswith(f"{network}.")}
        if entries:
            return entries
    return config


def _is_given(text: str) -> bool:
    return text.strip().lower() not in ("", "none", "null")


def scale_beside(file: TensorFile, ranks: Mapping[str, int]) -> tuple[Scale | None, str]:
    """Return (what adapter_config.json says, "") or (None, why it was passed over) for modules of these ranks."""
    path = file.path.parent / CONFIG_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError) as error:
        raise LoraFileError(
            path, said("it cannot be read: {error}", error=error), remedy="Repair it or move it away"
        ) from error
    others = _strangers(file.path)
    if others:
        return None, said(
            "{file} beside it was passed over: it may belong to {other}", file=CONFIG_NAME, other=others[0].name
        )
    scale = _from_config(path, CONFIG_NAME, _object(path, "it", text))
    if not scale.agrees(ranks):
        note = said(
            "{file} beside it was passed over: its rank {rank} is not that of the tensors",
            file=CONFIG_NAME,
            rank=str(scale.rank),
        )
        return None, note
    return scale, ""


def _strangers(path: Path) -> list[Path]:
    """Return the other files in the folder that an adapter_config.json there may be meant for.

    `adapter_model.*` is PEFT's own name, so the configuration is that file's whatever else lies there; any other file
    must be alone with it, or with its twin.
    """
    if path.stem == "adapter_model":
        return []
    known = {path.name, *twin_names(path)}
    return sorted(p for p in path.parent.iterdir() if p.suffix.lower() in CONTAINERS and p.name not in known)


def _from_kohya(file: TensorFile) -> Scale:
    metadata = file.metadata
    arguments = metadata.get("ss_network_args", "")
    stabilised = re.search(r'"?rs_lora"?\s*[:=]\s*"?true', arguments, re.IGNORECASE) is not None
    alpha = _checked(file.path, f"metadata {KOHYA_ALPHA}", metadata[KOHYA_ALPHA])
    rank = _number(metadata.get("ss_network_dim"))
    return Scale(f"metadata {KOHYA_ALPHA}", alpha, int(rank) if rank else None, rank_stabilised=stabilised)


def _from_config(path: Path, source: str, config: Mapping[str, Any]) -> Scale:
    """Return the scale in a configuration such as PEFT's."""
    alpha = next((key for key in _ALPHA if config.get(key) is not None), None)
    rank = next((key for key in _RANK if config.get(key) is not None), None)
    return Scale(
        source,
        None if alpha is None else _checked(path, source, config[alpha]),
        None if rank is None else int(_checked(path, source, config[rank])),
        _pattern(path, source, config.get("alpha_pattern"), float),
        _pattern(path, source, config.get("rank_pattern"), int),
        str(config.get("use_rslora", False)).lower() == "true",
    )


def _pattern(path: Path, source: str, table: Any, convert: Callable[[float], Any]) -> dict[str, Any]:
    if isinstance(table, str):
        table = _object(path, f"a pattern in {source}", table)
    if not isinstance(table or {}, Mapping):
        raise LoraFileError(
            path,
            said("a pattern in {source} is no table: {table!r:.60}", source=source, table=table),
            remedy="Repair it",
        )
    for pattern in table or {}:
        try:
            re.compile(pattern)
        except re.error as error:
            raise LoraFileError(
                path,
                said(
                    "the pattern {pattern!r:.60} in {source} is malformed: {error}",
                    pattern=pattern,
                    source=source,
                    error=error,
                ),
                remedy="Repair it",
            ) from error
    return {key: convert(_checked(path, source, value)) for key, value in (table or {}).items()}


def _matching(table: Mapping[str, Any], module: str, default: Any) -> Any:
    """Return the value of the first pattern that ends like PEFT's `get_pattern_key` wants it, else the default."""
    return next((value for key, value in table.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _checked(path: Path, source: str, value: Any) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number) or number == 0:
        what = said("{source} states the scale {value!r:.40}", source=source, value=value)
        raise LoraFileError(path, what, expected="a finite number other than 0", remedy="Repair or remove it")
    return number


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _object(path: Path, what: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoraFileError(
            path, said("{what} is not readable: {error}", what=what, error=error), remedy="Repair it or move it away"
        ) from error
    if not isinstance(value, dict):
        raise LoraFileError(
            path, said("{what} is not a table", what=what), expected="PEFT's configuration", remedy="Repair it"
        )
    return value
