"""The opening of the model that a training's configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import TrainingError

if TYPE_CHECKING:
    from ..families.opened import OpenedModel
    from .settings.model import ModelSettings


def open_model(settings: ModelSettings, device: Any = None) -> OpenedModel:
    """Open the model that is trained; only headers are read. One expert at a time is on the device."""
    import torch

    from ..families.registry import opener

    dtype = None if settings.dtype == "auto" else getattr(torch, settings.dtype)
    pieces = ("low_noise", "text_encoder", "tokenizer", "vae", "image_encoder")
    given: dict[str, Any] = {piece: value for piece in pieces if (value := getattr(settings, piece))}
    if device is not None and settings.device not in ("auto", device.type):
        what = f"{settings.device!r}, and the launcher gives each process its own"
        raise TrainingError("device", what, expected="auto", remedy="Leave it out")
    return opener(settings.model)(
        settings.model, dtype=dtype, device=device or settings.device, offload="experts", **given
    )
