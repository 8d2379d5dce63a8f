"""The executors: each computes what is written out, none computes more, and none falls back to dense."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from radial_reference import attention, tokens_seen
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from lora_core.attention import flex, gathered
from lora_core.attention.block_map import radial_map
from lora_core.attention.executors import EXECUTORS, attend, choose_executor
from lora_core.attention.geometry import RadialGeometry
from lora_core.errors import RequestError

#: torch's compiler says so of itself as it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")

B, H, D = 2, 2, 32  # the same everywhere: each other shape would be compiled anew
SMALL_BLOCKS = {"block_size": 16, "thin_below": 32, "decay": 0.2}
GEOMETRIES = {
    "whole frames": RadialGeometry(6, 64, **SMALL_BLOCKS),
    "padded frames": RadialGeometry(5, 40, **SMALL_BLOCKS),
    "text": RadialGeometry(8, 24, num_text_tokens=20, sink=False, **SMALL_BLOCKS),
}


@pytest.fixture(scope="module")
def compiler():
    """Skip where torch.compile cannot work: it wants a C++ compiler on a CPU."""
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2))
    except Exception as error:
        pytest.skip(f"torch.compile does not work here: {error}")


@pytest.fixture(params=sorted(EXECUTORS))
def executor(request):
    if request.param == "flex":
        request.getfixturevalue("compiler")
    return request.param


def inputs(geometry, seed=0, batch=B, **options):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, H, geometry.num_tokens, D, generator=generator).to(**options) for _ in range(3)]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=list(GEOMETRIES))
def test_it_computes_what_is_written_out(executor, geometry):
    block_map = radial_map(geometry)
    assert block_map.density < 0.9
    q, k, v = inputs(geometry)
    found = attend(q, k, v, block_map, executor=executor)
    torch.testing.assert_close(found.double(), attention(q, k, v, block_map), atol=3e-6, rtol=0)


def test_texts_of_unequal_length_share_a_batch(executor):
    block_map, num_valid = radial_map(GEOMETRIES["text"]), torch.tensor([20, 3])
    q, k, v = inputs(block_map.geometry)
    found = attend(q, k, v, block_map, executor=executor, num_text_valid=num_valid)
    torch.testing.assert_close(found.double(), attention(q, k, v, block_map, num_valid), atol=3e-6, rtol=0)


@settings(max_examples=25)
@given(
    st.builds(
        RadialGeometry,
        num_frames=st.integers(1, 9),
        tokens_per_frame=st.integers(1, 70),
        block_size=st.sampled_from([16, 32]),
        decay=st.sampled_from([0.2, 1.0]),
        sink=st.booleans(),
        num_text_tokens=st.integers(0, 40),
        thin_below=st.sampled_from([16, 64]),
    )
)
def test_gathered_and_masked_compute_it_at_any_size(geometry):
    block_map = radial_map(geometry)
    q, k, v = inputs(geometry)
    expected = attention(q, k, v, block_map)
    for executor in ("gathered", "masked"):
        found = attend(q, k, v, block_map, executor=executor)
        torch.testing.assert_close(found.double(), expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize("executor", ["flex", "gathered"])
def test_what_the_map_leaves_out_is_not_computed(executor, request):
    """A value that is NaN spoils every sum it is part of, were its weight 0."""
    if executor == "flex":
        request.getfixturevalue("compiler")
    block_map = radial_map(GEOMETRIES["whole frames"])
    q, k, v = inputs(block_map.geometry)
    unseen_by = ~tokens_seen(block_map)[:, -1]
    v[:, :, -1] = torch.nan
    found = attend(q, k, v, block_map, executor=executor)
    assert unseen_by.any()
    assert torch.equal(found.isfinite().all(-1), unseen_by.expand(B, H, -1))
    assert attend(q, k, v, block_map, executor="masked").isnan().all()


@pytest.mark.parametrize("executor", ["gathered", "masked"])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=list(GEOMETRIES))
def test_gradients_are_those_of_what_is_written_out(executor, geometry):
    block_map = radial_map(geometry)
    ours, theirs = ([x.requires_grad_() for x in inputs(geometry)] for _ in range(2))
    weight = inputs(geometry, seed=1)[0]
    (attend(*ours, block_map, executor=executor) * weight).sum().backward()
    (attention(*theirs, block_map) * weight).sum().backward()
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.grad, expected.grad, atol=1e-5, rtol=0)


def test_items_of_a_batch_do_not_meet(executor):
    block_map = radial_map(GEOMETRIES["padded frames"])
    q, k, v = inputs(block_map.geometry)
    together = attend(q, k, v, block_map, executor=executor)
    for x in (q, k, v):
        x[1] = torch.nan
    found = attend(q, k, v, block_map, executor=executor)
    assert torch.equal(found[0], together[0])
    assert found[1].isnan().all()


def test_several_lengths_in_one_process_each_get_their_own():
    for num_frames in (3, 9, 3, 17):
        geometry = RadialGeometry(num_frames, 40, **SMALL_BLOCKS)
        block_map, (q, k, v) = radial_map(geometry), inputs(geometry)
        found = attend(q, k, v, block_map, executor="gathered")
        torch.testing.assert_close(found.double(), attention(q, k, v, block_map), atol=3e-6, rtol=0)


def test_the_dtype_stays():
    block_map = radial_map(GEOMETRIES["padded frames"])
    q, k, v = inputs(block_map.geometry, dtype=torch.bfloat16)
    found = attend(q, k, v, block_map, executor="gathered")
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), attention(q, k, v, block_map), atol=2e-2, rtol=0)


def test_gathered_keys_take_at_most_twice_the_memory_of_the_keys():
    geometry = RadialGeometry(41, 256)
    chunks, place = gathered._chunks(radial_map(geometry), torch.device("cpu"))
    assert max(columns.numel() for _, columns in chunks) <= 2 * geometry.num_blocks
    assert sorted(place.tolist()) == list(range(geometry.num_blocks))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_torchs_own_flex_attention_is_dense_without_its_compiler():
    """Why `flex.py` compiles, and refuses to run where it is not: torch ignores the blocks, and only warns."""
    block_map = radial_map(GEOMETRIES["whole frames"])
    counted = flex._listed(block_map.blocks)
    q, k, v = inputs(block_map.geometry)
    found = flex_attention(q, k, v, block_mask=BlockMask.from_kv_blocks(*counted, BLOCK_SIZE=16))
    torch.testing.assert_close(found, scaled_dot_product_attention(q, k, v), atol=3e-6, rtol=0)


@pytest.fixture(params=["disabled", "forced eager"])
def no_compiling(request):
    """Switch torch's compiler off in the two ways there are; of the first TORCH_COMPILE_DISABLE is the variable."""
    flex._compiled.cache_clear()
    torch._dynamo.reset()  # what is compiled already would go on
    off = torch._dynamo.config.patch(disable=True)
    with off if request.param == "disabled" else torch.compiler.set_stance("force_eager"):
        yield
    flex._compiled.cache_clear()


@pytest.mark.usefixtures("no_compiling")
def test_flex_refuses_to_run_where_compiling_is_switched_off():
    block_map = radial_map(GEOMETRIES["whole frames"])
    with pytest.raises(RequestError) as refused:
        attend(*inputs(block_map.geometry), block_map, executor="flex")
    assert str(refused.value) == (
        "flex: torch.compile is switched off, and without it flex_attention is dense (TORCH_COMPILE_DISABLE unset). "
        "Take the executor 'gathered', which needs no compiler."
    )


@pytest.mark.usefixtures("compiler")
def test_flex_does_not_go_on_uncompiled_past_the_limit_of_compilations(monkeypatch):
    monkeypatch.setattr(flex, "_MAX_COMPILATIONS", 1)
    torch._dynamo.reset()
    first, second = GEOMETRIES["whole frames"], RadialGeometry(3, 32, **SMALL_BLOCKS)
    attend(*inputs(first), radial_map(first), executor="flex")
    with pytest.raises(RequestError, match=r"^flex: torch\.compile failed: .*Take the executor 'gathered'"):
        attend(*inputs(second), radial_map(second), executor="flex")


def test_flex_says_where_it_cannot_work():
    block_map = radial_map(GEOMETRIES["whole frames"])
    q, k, v = inputs(block_map.geometry)
    with pytest.raises(RequestError, match=r"^flex: heads of width 12 \(at least 16, what its kernels take\)"):
        attend(q[..., :12], k[..., :12], v[..., :12], block_map, executor="flex")
    with pytest.raises(RequestError, match=r"^flex: torch has no backward pass of flex_attention on a CPU"):
        attend(q.requires_grad_(), k, v, block_map, executor="flex")


def test_masked_refuses_a_mask_of_gigabytes():
    geometry = RadialGeometry(41, 1560)
    x = torch.empty(1, 1, geometry.num_tokens, 1)
    with pytest.raises(RequestError, match=r"^masked: 68,224 tokens would need a mask of 4\.3 GiB \(at most 16,384\)"):
        attend(x, x, x, radial_map(geometry), executor="masked")


def test_tokens_of_another_clip_are_refused():
    block_map = radial_map(RadialGeometry(3, 40))
    x = torch.zeros(1, 1, 121, 16)
    with pytest.raises(RequestError) as refused:
        attend(x, x, x, block_map)
    assert str(refused.value) == (
        "radial attention: queries of shape 1x1x121x16 ((batch, heads, 120, width), for 3 latent frames). "
        "Make the map for these tokens."
    )


def test_a_text_longer_than_the_maps_is_refused():
    block_map = radial_map(GEOMETRIES["text"])
    with pytest.raises(RequestError, match=r"^num_text_valid: \[20, 21\] is out of range \(0 to 20, the tokens of the"):
        attend(*inputs(block_map.geometry), block_map, num_text_valid=torch.tensor([20, 21]))
    with pytest.raises(RequestError, match=r"^num_text_valid: \(1, 2\) of torch\.int64 \(one whole number for each"):
        attend(*inputs(block_map.geometry), block_map, num_text_valid=torch.tensor([[20, 2]]))


@pytest.mark.parametrize(("device", "chosen"), [("cuda", "flex"), ("cpu", "gathered"), ("mps", "gathered")])
def test_auto_takes_what_is_for_the_device(device, chosen):
    assert choose_executor("auto", torch.device(device)) == chosen
    with pytest.raises(RequestError, match=r"^executor: unknown value 'flux' \(nearest: 'flex'\)"):
        choose_executor("flux", torch.device(device))


@pytest.mark.parametrize("executor", ["flex", "masked"])
def test_an_executor_that_is_no_use_on_a_device_is_refused_there(executor):
    with pytest.raises(RequestError) as refused:
        choose_executor(executor, torch.device("mps"))
    assert str(refused.value) == (
        f"{executor}: it does not run on mps (the executor 'gathered' there). "
        "Take the executor 'gathered', or leave it at 'auto'."
    )
