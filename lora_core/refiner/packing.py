"""The packing of a network that is open already, as QLoRA packs a base: of a GGUF, which transformers only unpacks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def pack(network: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Pack all linear layers but the head in nf4, with statistics in 8 bits, where they are in the network.

    They compute in `dtype` as transformers packs them when it reads unpacked weights.
    """
    import bitsandbytes as bnb

    head = network.get_output_embeddings()
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer is not head:
                packed = bnb.nn.Linear4bit(
                    layer.in_features,
                    layer.out_features,
                    layer.bias is not None,
                    compute_dtype=dtype,
                    compress_statistics=True,
                    quant_type="nf4",
                    device="meta",
                )
                packed.weight = bnb.nn.Params4bit(
                    layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4", module=packed
                )
                packed.bias = layer.bias
                setattr(parent, name, packed.to(device))
    network.is_loaded_in_4bit = True  # by which peft knows such layers
