"""Pictures that are not a plan's: of a message, and the heat map of a LoRA."""

import numpy as np
import pytest
import torch

from lora_core.deltas import Lora
from lora_core.files.plot import delta_image
from lora_core.files.weights import LoraWeights
from lora_core.media.figures import message_image


@pytest.mark.parametrize("message", ["refused", "", "a long one " * 60, "a name with $x^ and 霓虹\nand a second line"])
def test_a_message_becomes_a_picture_high_enough_for_it(message):
    image = message_image(message)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert (image.min() < 100) == bool(message)
    border = np.concatenate([image[:4].ravel(), image[-4:].ravel(), image[:, -4:].ravel()])
    assert border.min() == 255


def test_a_heat_map_is_darkest_where_the_change_is_greatest():
    torch.manual_seed(0)
    deltas = {
        f"blocks.{block}.ffn.0": Lora(torch.randn(2, 8), torch.randn(16, 2) * (block + 0.1), scale=1.0)
        for block in range(4)
    }
    image = delta_image([LoraWeights(None, "a $ of 霓虹", deltas)])
    assert image.dtype == np.uint8
    cells = image[:, :, 0].astype(int)
    row = cells[np.argmax((cells < 40).sum(axis=1))]  # crosses the darkest cell
    assert row[: len(row) // 3].mean() > row[len(row) // 2 : int(len(row) * 0.85)].mean()
