"""What each of the pocket's trainings starts from: networks without training, or what earlier trainings have left."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from ..experts import EXPERTS
from .experts import SMALL, build_cosmos, build_expert, with_image_channels
from .export import write_expert
from .trainings import open_model
from .workshop import Workshop


def _pair_of(shop: Workshop, name: str, networks: Mapping[str, Callable[[], torch.nn.Module]]) -> dict[str, str]:
    """Write the experts that a training starts from, unless they are there, and return the trainer's keys for them."""
    files = {expert: shop.folder / "start" / f"{name}_{expert}.safetensors" for expert in networks}
    for expert, file in files.items():
        if not file.exists():
            write_expert(networks[expert](), file)
    return shop.keys(*files.values())


def _split(shop: Workshop, trunk: str) -> dict[str, str]:
    """Begin both experts with the weights of one network trained on every noise level."""
    opened = open_model(shop.keys(shop.trained(trunk)))
    return _pair_of(shop, trunk, dict.fromkeys(EXPERTS, lambda: opened.expert("low_noise")))


def _base(shop: Workshop) -> dict[str, str]:
    return shop.keys(shop.trained("base_high", "high_noise"), shop.trained("base_low", "low_noise"))


def _widened(shop: Workshop) -> dict[str, str]:
    """Begin the image pair with the base, which does not look at pictures yet."""
    base = open_model(_base(shop))
    return _pair_of(
        shop,
        "picture",
        {
            expert: partial(lambda e: with_image_channels(cast(WanTransformer3DModel, base.expert(e))), expert)
            for expert in EXPERTS
        },
    )


STARTS: Mapping[str, Callable[[Workshop], dict[str, str]]] = {
    "untrained": lambda shop: _pair_of(shop, "untrained", {"alone": build_expert}),
    "trunk": lambda shop: _split(shop, "trunk"),
    "base": _base,
    "picture_untrained": _widened,
    "small_untrained": lambda shop: _pair_of(shop, "small_untrained", {"alone": partial(build_expert, SMALL)}),
    "cosmos_untrained": lambda shop: _pair_of(shop, "cosmos_untrained", {"alone": build_cosmos}),
    "cosmos": lambda shop: shop.keys(shop.trained("cosmos")),
    "small_trunk": lambda shop: _split(shop, "small_trunk"),
}
