"""What the network is handed for a prediction, for the model of two CLIP pictures above all."""

import pytest
import tiny
import torch

from lora_core.families.condition import Condition
from lora_core.families.registry import family_of, spec_of_module
from lora_core.sampling.guidance import guided_velocity


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("first_and_last", [False, True])
def test_clip_features_serve_every_video_of_a_batch(first_and_last: bool, cfg: float) -> None:
    network = tiny.image_transformer(first_and_last=first_and_last)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 2, 4, 4, generator=generator)
    condition = Condition(
        positive=torch.randn(1, 512, tiny.TEXT_WIDTH, generator=generator),
        negative=torch.randn(1, 512, tiny.TEXT_WIDTH, generator=generator),
        image_channels=torch.randn(1, 20, 2, 4, 4, generator=generator),
        image_embeds=torch.randn(1, 2 * tiny.NUM_IMAGE_TOKENS, tiny.IMAGE_WIDTH, generator=generator),
    )
    spec = spec_of_module(network)
    assert spec.first_and_last == first_and_last
    forward = family_of(spec).forward
    with torch.no_grad():
        both = guided_velocity(forward, network, spec, x, 0.7, cfg, condition)
        single = [guided_velocity(forward, network, spec, x[i : i + 1], 0.7, cfg, condition) for i in (0, 1)]
    torch.testing.assert_close(both, torch.cat(single), rtol=0, atol=1e-4)
