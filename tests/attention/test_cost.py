"""What self-attention is of a whole step, beside figures counted by hand."""

import pytest
import tiny

from lora_core.attention.controller import make_controller
from lora_core.attention.cost import StepFlops, step_flops
from lora_core.attention.settings import RadialSettings
from lora_core.errors import RequestError
from lora_core.families import registry


def test_a_tiny_network_is_counted_as_by_hand():
    """2 blocks of width 64, inner 128; 16 channels in patches of 1x2x2; a clip of 10 tokens, a text of 3."""
    per_block = (
        4 * 2 * 64 * 64 * 10  # self-attention: q, k, v, o
        + 2 * 2 * 64 * 64 * 10  # cross-attention: q, o
        + 2 * 2 * 64 * 64 * 3  # its k, v, of the text
        + 4 * 10 * 3 * 64  # its pairs
        + 2 * 2 * 64 * 128 * 10  # feed-forward, in and out
    )
    outside = 2 * (16 * 4 * 64) * 10 + 2 * (64 * 16 * 4) * 10  # patches in, patches out
    found = step_flops(registry.spec_of_module(tiny.transformer()), 10, 3)
    assert found == StepFlops(pairs=2 * 4 * 10 * 10 * 64, rest=2 * per_block + outside)


@pytest.mark.parametrize(
    ("frames", "height", "width", "share"),
    [(21, 60, 104, 0.524), (41, 60, 104, 0.683), (41, 90, 160, 0.833), (81, 96, 160, 0.912)],
)
def test_the_larger_the_clip_the_more_of_a_step_is_self_attention(frames, height, width, share):
    """Wan 14B, 40 blocks: a token takes 4 N D in pairs and 2 (6 D^2 + 2 D 13824) + 4 512 D in the rest, D = 5120."""
    tokens = frames * height * width // 4
    by_hand = 4 * tokens * 5120 / (4 * tokens * 5120 + 2 * (6 * 5120**2 + 2 * 5120 * 13824) + 4 * 512 * 5120)
    found = step_flops(registry.spec_named("wan2.2-t2v-a14b"), tokens).share
    assert found == pytest.approx(by_hand, rel=2e-3)  # patches, and keys and values of the text, are left out by hand
    assert found == pytest.approx(share, abs=1e-3)


def test_what_is_left_of_a_step_lies_between_its_pairs_and_the_whole():
    flops = StepFlops(pairs=30, rest=70)
    assert [flops.left(cost) for cost in (1.0, 0.5, 0.0, 1.2)] == pytest.approx([1.0, 0.85, 0.7, 1.06])


@pytest.mark.parametrize(
    ("frames", "height", "width", "of_6", "of_40"),
    [
        (21, 60, 104, 0.878, 0.775),
        (41, 60, 104, 0.789, 0.609),
        (41, 90, 160, 0.718, 0.478),
        (81, 96, 160, 0.640, 0.333),
    ],
)
def test_what_is_left_of_a_whole_run_is_what_the_documentation_has(frames, height, width, of_6, of_40):
    spec = registry.spec_named("wan2.2-t2v-a14b")
    for num_steps, left in ((6, of_6), (40, of_40)):
        radial = make_controller(spec, (1, 16, frames, height, width), num_steps, RadialSettings())
        assert radial.whole_cost == pytest.approx(left, abs=5e-4)
        assert radial.to_dict()["whole_cost"] == round(radial.whole_cost, 4)
        share = step_flops(spec, frames * height * width // 4).share
        assert radial.whole_cost == pytest.approx(1 - share * (1 - radial.cost))


def test_a_clip_without_tokens_is_refused():
    with pytest.raises(RequestError, match=r"^num_tokens: 0 is out of range \(at least 1\)"):
        step_flops(registry.spec_named("wan-pocket"), 0)
