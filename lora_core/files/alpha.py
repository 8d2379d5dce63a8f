"""The alpha of each delta: from its tensor in the file, else from what the trainer configured (`scale`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ..errors import LoraFileError
from ..experts import EXPERTS, Expert
from ..wording import said
from .containers.tensorfile import TensorFile
from .faults import Heading
from .job_config import job_alpha
from .ledger import Ledger
from .parts import REWRITE, Address, Parts, Unfit
from .scale import Scale, scale_beside, scale_from_metadata

BAD_ALPHA = Heading(
    LoraFileError,
    "{n} alpha{s} cannot be used",
    expected="an alpha is one finite number other than 0",
    remedy=REWRITE,
)


#: Who says the alpha of a file's deltas: the file or an adapter_config.json beside it, the configuration of its job,
#: the caller, or nobody, and the scale is 1.
AlphaSource = Literal["file", "job", "stated", "none"]


def scaled(
    parts: Mapping[Address, Parts], file: TensorFile, ledger: Ledger, alpha: float | None
) -> tuple[dict[Address, Parts], tuple[str, ...], AlphaSource]:
    """Return (the parts whose alpha is sound, with their scale; what is to be noted about it; who says it).

    `alpha` is the caller's, which counts where neither the file nor its job says one.
    """
    unstated = [own for own in parts.values() if own.alpha is None and own.kind != "full"]
    stated, note = _stated_scales(file, unstated)
    source: AlphaSource = "file" if stated or not unstated else "none"
    if not stated and unstated:
        of_job = job_alpha(file.path, {own.rank for own in unstated if own.rank is not None})
        source = "job" if of_job is not None else "none" if alpha is None else "stated"
        if (given := alpha if of_job is None else of_job) is not None:
            stated = dict.fromkeys((None, *EXPERTS), Scale(source, given))
    names = [own.alpha for own in parts.values() if own.alpha]
    alphas = file.read_numbers(name for name in names if math.prod(file.infos[name].shape) == 1)
    sound: dict[Address, Parts] = {}
    for address, own in parts.items():
        with ledger.refusing(own.names, address.target):
            sound[address] = replace(own, scale=_scale(address, parts, alphas, stated))
        if own.alpha and own.rank is None:
            reason = said("its delta is stored in full and has no rank to divide an alpha by")
            ledger.write([own.alpha], "not_applicable", address.target, reason)
    return sound, (note,) if note else (), source


def _stated_scales(file: TensorFile, unstated: Sequence[Parts]) -> tuple[dict[Expert | None, Scale], str]:
    """Return (expert -> the scale that something else than an alpha tensor states, a note if one was passed over)."""
    if not unstated:
        return {}, ""
    names = [name for own in unstated for name in own.names]
    from_kohya = any(sign in name for name in names for sign in ("lora_down", "hada_", "lokr_"))
    high, low = (scale_from_metadata(file, from_kohya=from_kohya, low_noise=low_noise) for low_noise in (False, True))
    note = ""
    if high is None:
        high, note = scale_beside(file, {own.module: own.rank for own in unstated if own.rank is not None})
        low = high
    scales: dict[Expert | None, Scale | None] = {None: high, "high_noise": high, "low_noise": low}
    return {expert: scale for expert, scale in scales.items() if scale is not None}, note


def _scale(
    address: Address,
    parts: Mapping[Address, Parts],
    alphas: Mapping[str, float],
    stated: Mapping[Expert | None, Scale],
) -> float:
    """Return the scale of one delta: alpha / rank, from the surest source there is."""
    own = parts[address]
    if own.kind == "full":
        return 1.0
    if own.kind == "lora_bias":  # PEFT scales the bias of lora_B with the product
        owner = address._replace(target=address.target.removesuffix(".bias"))
        if owner in parts:
            return _scale(owner, parts, alphas, stated)
    if own.alpha is not None:
        return 1.0 if own.rank is None else _usable(own.alpha, alphas) / own.rank
    return stated[address.expert].of(own.module, own.rank) if address.expert in stated else 1.0


def _usable(name: str, alphas: Mapping[str, float]) -> float:
    """Return the value of an alpha tensor, which may be of any type and number of axes but holds one number."""
    if name not in alphas:
        raise Unfit(BAD_ALPHA, f"{name} is not a single number")
    if not math.isfinite(alphas[name]) or alphas[name] == 0:
        raise Unfit(BAD_ALPHA, f"{name} is {alphas[name]:g}")
    return alphas[name]
