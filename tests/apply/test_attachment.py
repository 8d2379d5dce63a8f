"""Stacks attached to networks: the same result as merged weights, and no trace afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import tiny
import torch
from random_deltas import CONVOLUTION, LINEAR, NumbersMade, dense_weight, full, lora, relative_error
from torch import Tensor, nn
from trainees import call, stir

from lora_core.apply.attachment import attach
from lora_core.apply.base_weights import base_form
from lora_core.apply.fused import FusedDelta, Strengths, Term
from lora_core.apply.layers import patch
from lora_core.apply.patched import PatchedModule
from lora_core.checkpoints.fp8 import ScaledFp8Linear
from lora_core.checkpoints.residency import Network
from lora_core.deltas import Delta, Full
from lora_core.errors import LoraMismatchError, StackError
from lora_core.families.registry import spec_of_module
from lora_core.training.network.trainee import make_trainee, packed_copy
from lora_core.training.settings.adapter import AdapterSettings

EXACT = 1e-5
SIDES = ("auto", "activation", "weight")


@dataclass(frozen=True)
class Entry:
    """One LoRA as routing hands it over."""

    deltas: Mapping[str, Delta]
    strength: float = 1.0
    name: str = "style"
    factors: Mapping[str, float] = field(default_factory=dict)


class Small(nn.Module):
    """A network with every kind of parameter that a file can touch."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 6, 2, stride=2, padding=1, padding_mode="reflect")
        self.linear = nn.Linear(6, 8)
        self.layer_norm = nn.LayerNorm(8)
        self.plain = nn.Linear(8, 8, bias=False)
        self.rms_norm = nn.RMSNorm(8)
        self.modulation = nn.Parameter(torch.randn(1, 8))
        self.grouped = nn.Conv1d(8, 8, 1, groups=2)
        self.register_buffer("offset", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(self.patch(x).flatten(2).transpose(1, 2))
        x = self.rms_norm(self.plain(self.layer_norm(x) * (1 + self.modulation)))
        return self.grouped(x.transpose(1, 2)).transpose(1, 2) + self.offset


TARGETS = (
    "patch",
    "linear",
    "linear.bias",
    "layer_norm",
    "layer_norm.bias",
    "plain",
    "rms_norm",
    "modulation",
    "grouped",
)


def small() -> tuple[Small, Tensor]:
    torch.manual_seed(0)
    return Small().requires_grad_(False), torch.randn(2, 2, 4, 6)


def parameter_of(module: nn.Module, target: str) -> nn.Parameter:
    path, name = spec_of_module(module).parameter_path(target, module)
    return module.get_submodule(path).get_parameter(name)


def random_entry(module: nn.Module, targets: Sequence[str], index: int = 0, **fields: object) -> Entry:
    """Make a LoRA that changes `targets`, each by a kind of change that its parameter can have."""
    deltas: dict[str, Delta] = {}
    for number, target in enumerate(targets):
        shape = tuple(parameter_of(module, target).shape)
        kinds = LINEAR if len(shape) == 2 and shape[0] > 1 else CONVOLUTION if len(shape) > 3 else {"full": full}
        deltas[target] = sorted(kinds.items())[(number + index) % len(kinds)][1](shape)
    return Entry(deltas, name=f"lora {index}", **fields)


def merged(module: nn.Module, entries: Sequence[Entry], strengths: Sequence[float]) -> nn.Module:
    """Return a copy of `module` with the changes added to its weights, by definition."""
    result = copy.deepcopy(module)
    for target in dict.fromkeys(target for entry in entries for target in entry.deltas):
        acting = [
            (entry, strength) for entry, strength in zip(entries, strengths, strict=True) if target in entry.deltas
        ]
        deltas = [entry.deltas[target] for entry, _ in acting]
        factors = [strength * entry.factors.get(target, 1.0) for entry, strength in acting]
        parameter = parameter_of(result, target)
        with torch.no_grad():
            parameter.copy_(dense_weight(parameter_of(module, target), deltas, factors))
    return result


@contextmanager
def untouched(module: nn.Module, run: Callable[[], Tensor]) -> Iterator[None]:
    """Demand that parameters, buffers, attributes and output are the same, bit for bit, before and after."""
    tensors = [*module.parameters(), *module.buffers()]
    values = [tensor.data.clone() for tensor in tensors]
    places = [tensor.data_ptr() for tensor in tensors]
    attributes = {path: list(vars(part)) for path, part in module.named_modules()}
    forwards = {path: vars(part).get("forward") for path, part in module.named_modules()}
    before = run()
    yield
    assert {path: list(vars(part)) for path, part in module.named_modules()} == attributes
    assert {path: vars(part).get("forward") for path, part in module.named_modules()} == forwards
    assert all(now is then for now, then in zip([*module.parameters(), *module.buffers()], tensors, strict=True))
    assert [tensor.data_ptr() for tensor in tensors] == places
    assert all(same_bits(tensor.data, value) for tensor, value in zip(tensors, values, strict=True))
    assert torch.equal(run(), before)


def same_bits(tensor: Tensor, other: Tensor) -> bool:
    return torch.equal(tensor.view(torch.uint8), other.view(torch.uint8)) if tensor.ndim else torch.equal(tensor, other)


# ------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_parameter_of_a_module_can_be_changed(target: str, side: str) -> None:
    module, x = small()
    entries = [random_entry(module, [target], index) for index in range(9)]
    strengths = [0.3, 0.0, -0.2, 0.1, 0.3, 0.2, -0.1, 0.2, 0.4]
    expected = merged(module, entries, strengths)(x)
    with untouched(module, lambda: module(x)), attach(module, entries, side=side) as attachment:
        attachment.set_strengths(strengths)
        assert relative_error(module(x), expected) < EXACT
        assert attachment.num_layers == 1


@pytest.mark.parametrize("side", SIDES)
def test_a_mixed_stack_follows_its_strengths_from_step_to_step(side: str) -> None:
    module, x = small()
    entries = [random_entry(module, TARGETS, index, factors={"linear": 0.5, "plain": 0.0}) for index in range(3)]
    steps = [(1.0, 1.0, 1.0), (0.5, 0.0, -0.5), (0.0, 0.0, 0.2)]
    expected = [merged(module, entries, strengths)(x) for strengths in steps]
    with untouched(module, lambda: module(x)), attach(module, entries, side=side) as attachment:
        for strengths, y in zip(steps, expected, strict=True):
            attachment.set_strengths(strengths)
            assert attachment.strengths == strengths
            assert relative_error(module(x), y) < EXACT


def test_strengths_start_with_what_the_entries_say() -> None:
    module, x = small()
    entry = random_entry(module, TARGETS, strength=0.25)
    expected = merged(module, [entry], [0.25])(x)
    with attach(module, [entry]):
        assert relative_error(module(x), expected) < EXACT


def test_a_module_that_is_given_no_tensor_is_changed_where_its_parameter_is() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(1, 4), requires_grad=False)

        def forward(self, times: int) -> Tensor:
            return times * self.table

    module, diff = nn.ModuleDict({"inner": Table()}), full((1, 4))
    with attach(module, [Entry({"inner.table": diff}, 0.5)]):
        assert torch.allclose(module["inner"](times=2), 2 + diff.diff)


def test_strength_zero_everywhere_changes_no_bit() -> None:
    module, x = small()
    before = module(x)
    with attach(module, [random_entry(module, TARGETS, index, strength=0.0) for index in range(2)]):
        assert torch.equal(module(x), before)


WAN_TARGETS = (
    "patch_embedding",
    "time_embedding.0",
    "text_embedding.2.bias",
    "blocks.0.modulation",
    "blocks.1.modulation",
    "blocks.0.self_attn.q",
    "blocks.0.self_attn.norm_q",
    "blocks.0.cross_attn.k",
    "blocks.0.cross_attn.k.bias",
    "blocks.0.norm3",
    "blocks.0.norm3.bias",
    "blocks.0.ffn.0",
    "blocks.1.ffn.2",
    "head.modulation",
    "head.head",
    "head.head.bias",
)


@pytest.mark.parametrize("side", SIDES)
def test_a_wan_transformer_under_a_stack_equals_its_merged_copy(side: str) -> None:
    torch.manual_seed(1)
    module = tiny.transformer()
    entries = [random_entry(module, WAN_TARGETS, index) for index in (0, 4)]
    steps = [(0.1, 0.05), (0.05, 0.0)]
    expected = [tiny.run(merged(module, entries, strengths)) for strengths in steps]
    with untouched(module, lambda: tiny.run(module)), attach(module, entries, side=side) as attachment:
        for strengths, y in zip(steps, expected, strict=True):
            attachment.set_strengths(strengths)
            assert relative_error(tiny.run(module), y) < EXACT
        assert attachment.num_layers == 13
        assert attachment.num_bytes == sum(delta.num_bytes for entry in entries for delta in entry.deltas.values())


# ------------------------------------------------------------------------------------------ leaving no trace


def test_detaching_twice_is_harmless_and_without_a_with_block_detach_ends_it() -> None:
    module, x = small()
    with untouched(module, lambda: module(x)):
        attachment = attach(module, [random_entry(module, TARGETS)])
        attachment.detach()
        attachment.detach()
        assert attachment.num_layers == 0


def test_an_error_in_the_middle_of_a_forward_leaves_nothing_behind() -> None:
    module, x = small()
    with untouched(module, lambda: module(x)):
        with pytest.raises(RuntimeError), attach(module, [random_entry(module, TARGETS)]):
            module(torch.randn(2, 3, 4, 6))
        with attach(module, [random_entry(module, TARGETS)]), pytest.raises(RuntimeError):
            module.layer_norm(torch.randn(2, 3))
        assert "weight" not in vars(module.layer_norm)


def test_an_interrupt_in_the_middle_of_attaching_leaves_nothing_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = small()
    install, calls = PatchedModule.install, []

    def interrupted(self: PatchedModule) -> None:
        install(self)
        calls.append(self)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(PatchedModule, "install", interrupted)
    with untouched(module, lambda: module(x)), pytest.raises(KeyboardInterrupt):
        attach(module, [random_entry(module, TARGETS)])


def test_a_second_stack_is_refused_while_one_is_attached() -> None:
    module, x = small()
    with untouched(module, lambda: module(x)):
        message = r"linear: a stack is attached already\. Detach it first, or attach both stacks as one list"
        with attach(module, [random_entry(module, ["linear"])]), pytest.raises(StackError, match=message):
            attach(module, [random_entry(module, ["plain"])])
        attach(module, [random_entry(module, ["plain"])]).detach()


def test_all_misfits_are_named_at_once_and_nothing_is_attached() -> None:
    module, x = small()
    deltas = {"linear": lora((8, 4)), "plain": lora((8, 8)), "lineal": lora((8, 6)), "modulation": full((1, 9))}
    with untouched(module, lambda: module(x)), pytest.raises(LoraMismatchError) as caught:
        attach(module, [Entry(deltas, name="wrong.safetensors")])
    message = str(caught.value)
    assert message.startswith("wrong.safetensors: 3 of its changes do not fit Small: ")
    assert "linear: its change has shape (8, 4) (the parameter has (8, 6))" in message
    assert "lineal: no parameter for the target 'lineal' (nearest 'linear')" in message
    assert "modulation: its change has shape (1, 9) (the parameter has (1, 8))" in message
    assert "Read the file with the model as `spec`" in message


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ([1.0], r"strengths: 1 values for the attached LoRAs \(2: style, style\)"),
        ([1.0, float("nan")], "style: strength: nan is not finite"),
        ([1.0, "high"], "style: strength: 'high' is not a number"),
    ],
)
def test_strengths_that_make_no_sense_are_refused_and_change_nothing(strengths: list[float], message: str) -> None:
    module, _ = small()
    with attach(module, [Entry({"linear": lora((8, 6))}), Entry({"plain": lora((8, 8))})]) as attachment:
        with pytest.raises(StackError, match=message):
            attachment.set_strengths(strengths)
        assert attachment.strengths == (1.0, 1.0)


# ------------------------------------------------------------------------------------------ cost


def test_setting_strengths_computes_on_nothing_but_the_strengths() -> None:
    module = tiny.transformer()
    with attach(module, [random_entry(module, WAN_TARGETS, index) for index in range(2)]) as attachment:
        tiny.run(module)
        with NumbersMade() as made:
            attachment.set_strengths([0.5, 0.25])
        assert made.total <= 4


def test_scratch_is_one_layer_large_and_lent_again_and_again() -> None:
    module, x = small()
    with attach(module, [random_entry(module, TARGETS)], side="weight") as attachment, torch.no_grad():
        module(x)
        first = attachment.num_scratch_bytes
        attachment.set_strengths([0.5])
        module(x)
        largest = max(parameter_of(module, target).numel() for target in ("patch", "linear", "plain"))
        assert attachment.num_scratch_bytes == first == 4 * largest


# ------------------------------------------------------------------------------------------ forms of the base


def fp8_linear(linear: nn.Linear) -> nn.Linear:
    weight, scale = tiny.quantise_fp8(linear.weight)
    return ScaledFp8Linear(weight, scale, linear.bias)


def gguf_linear(linear: nn.Linear) -> nn.Linear:
    gguf = pytest.importorskip("gguf")
    utils = pytest.importorskip("diffusers.quantizers.gguf.utils")
    kind = gguf.GGMLQuantizationType.Q8_0
    packed = torch.from_numpy(gguf.quants.quantize(linear.weight.numpy(), kind))
    layer = utils.GGUFLinear(linear.in_features, linear.out_features, bias=True, compute_dtype=torch.float32)
    layer.weight = utils.GGUFParameter(packed, quant_type=kind)
    layer.bias = linear.bias
    return layer


class GgmlTensor(Tensor):
    """As ComfyUI-GGUF's tensors: packed or not, of a class that results inherit, and never copied."""

    tensor_type: str

    def clone(self) -> GgmlTensor:  # type: ignore[override]  # as in the pack
        return self

    def detach(self) -> GgmlTensor:
        return self


class GgmlLinear(nn.Linear):
    """As ComfyUI-GGUF's linear layers: it unpacks its weight at every call, through a method of its own."""

    def __init__(self, linear: nn.Linear, tensor_type: str) -> None:
        super().__init__(linear.in_features, linear.out_features)
        weight = linear.weight.detach() if tensor_type == "F32" else (linear.weight * 64).round().to(torch.int8)
        self.weight, self.bias = (self._stored(tensor, tensor_type) for tensor in (weight, linear.bias.detach()))

    @staticmethod
    def _stored(tensor: Tensor, tensor_type: str) -> nn.Parameter:
        stored = tensor.as_subclass(GgmlTensor)
        stored.tensor_type = "F32" if tensor.is_floating_point() else tensor_type
        return nn.Parameter(stored, requires_grad=False)

    def get_weight(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        unpacked = tensor.to(dtype)
        return unpacked if getattr(tensor, "tensor_type", "F32") == "F32" else unpacked / 64

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(x, self.get_weight(self.weight, x.dtype), self.get_weight(self.bias, x.dtype))
        return torch.Tensor(y)


def ggml_packed(linear: nn.Linear) -> nn.Linear:
    return GgmlLinear(linear, "Q8_0")


def ggml_unpacked(linear: nn.Linear) -> nn.Linear:
    return GgmlLinear(linear, "F32")


def linear_4bit(linear: nn.Linear) -> nn.Linear:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = bitsandbytes.nn.Linear4bit(
        linear.in_features, linear.out_features, compute_dtype=torch.float32, quant_type="nf4"
    )
    layer.load_state_dict(linear.state_dict())
    layer.weight = bitsandbytes.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4").to("cpu")
    return layer.requires_grad_(False)


def linear_8bit(linear: nn.Linear) -> nn.Linear:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = bitsandbytes.nn.Linear8bitLt(linear.in_features, linear.out_features, has_fp16_weights=False)
    layer.load_state_dict(linear.state_dict())
    return layer.to("cpu").requires_grad_(False)


class Odd(nn.Linear):
    """A layer whose weight is stored in a way that nobody knows."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features)
        self.bias = linear.bias
        self.weight = nn.Parameter((linear.weight * 64).round().to(torch.int16), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight / 64, self.bias)


@pytest.mark.parametrize("make", [fp8_linear, gguf_linear, ggml_packed, ggml_unpacked, linear_4bit])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "full", "dora", "dora_on_inputs"])
def test_a_packed_base_takes_every_kind_on_both_sides(make: Callable[..., nn.Linear], side: str, kind: str) -> None:
    torch.manual_seed(3)
    layer = make(nn.Linear(64, 32).requires_grad_(False))
    module, x = nn.Sequential(layer), torch.randn(2, 50, 64)
    unpacked = base_form(layer).read(layer, torch.float32)
    deltas = {"0": LINEAR[kind]((32, 64)), "0.bias": Full(torch.randn(32))}
    bias = (layer.bias + 0.5 * deltas["0.bias"].diff).double()
    expected = nn.functional.linear(x.double(), dense_weight(unpacked, [deltas["0"]], [0.5]), bias)
    with untouched(module, lambda: module(x)), attach(module, [Entry(deltas, 0.5)], side=side):
        y = module(x)
        assert relative_error(y, expected) < EXACT
        assert type(y) is Tensor


def test_an_8_bit_matmul_keeps_its_product_and_gets_a_branch() -> None:
    torch.manual_seed(4)
    layer = linear_8bit(nn.Linear(64, 32).requires_grad_(False))
    module, x, delta = nn.Sequential(layer), torch.randn(50, 64), lora((32, 64))
    expected = module(x) + 0.5 * x @ delta.dense().T
    with attach(module, [Entry({"0": delta}, 0.5)]):
        assert relative_error(module(x), expected) < EXACT


def test_a_layer_of_unknown_form_takes_low_rank_changes() -> None:
    torch.manual_seed(5)
    module, x, delta = nn.Sequential(Odd(nn.Linear(6, 8).requires_grad_(False))), torch.randn(50, 6), lora((8, 6))
    expected = module(x) + 0.5 * x @ delta.dense().T
    with untouched(module, lambda: module(x)), attach(module, [Entry({"0": delta}, 0.5)]):
        assert relative_error(module(x), expected) < EXACT


# ------------------------------------------------------------------------------------------ company


def test_results_under_inference_mode_are_the_same_and_later_calls_work_outside_of_it() -> None:
    module, x = small()
    entry = random_entry(module, TARGETS, strength=0.5)
    expected = merged(module, [entry], [0.5])(x)
    with attach(module, [entry]) as attachment:
        with torch.inference_mode():
            inside = module(x)
            attachment.set_strengths([0.25])
            attachment.set_strengths([0.5])
        outside = module(x)
    assert relative_error(inside, expected) < EXACT
    assert torch.equal(inside, outside)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # RMSNorm's own, under autocast
@pytest.mark.parametrize("side", SIDES)
def test_autocast_computes_in_half_precision_and_loses_no_more(side: str) -> None:
    module, x = small()
    entries = [random_entry(module, TARGETS, index) for index in range(3)]
    expected_module = merged(module, entries, [0.2, 0.1, -0.1])
    expected = expected_module(x)
    with attach(module, entries, side=side) as attachment, torch.autocast("cpu", torch.bfloat16):
        attachment.set_strengths([0.2, 0.1, -0.1])
        y, y_merged = module(x), expected_module(x)
    assert y.dtype == y_merged.dtype
    assert relative_error(y, expected) < 1.3 * relative_error(y_merged, expected)


def test_a_compiled_network_takes_a_stack_and_new_strengths_without_compiling_again() -> None:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    module, x = small()
    entries = [random_entry(module, TARGETS, index) for index in range(2)]
    expected = [merged(module, entries, strengths)(x) for strengths in ([0.2, 0.1], [0.4, -0.3])]
    counter = CompileCounter()
    compiled = torch.compile(module, backend=counter)
    before = compiled(x)
    with torch.no_grad(), attach(compiled, entries) as attachment:
        attachment.set_strengths([0.2, 0.1])
        compiled(x)
        assert relative_error(compiled(x), expected[0]) < EXACT
        num_compiled = counter.frame_count
        for strengths, y in (([0.4, -0.3], expected[1]), ([0.2, 0.1], expected[0])):
            attachment.set_strengths(strengths)
            assert relative_error(compiled(x), y) < EXACT
        assert counter.frame_count == num_compiled
    assert relative_error(compiled(x), before) < EXACT
    torch._dynamo.reset()


@pytest.mark.usefixtures("some_accelerator")
@pytest.mark.parametrize("offload_type", ["block_level", "leaf_level"])
@pytest.mark.parametrize("side", SIDES)
def test_group_offloading_goes_on_around_a_stack(offload_type: str, side: str) -> None:
    module = copy.deepcopy(tiny.transformer())
    entry = random_entry(module, WAN_TARGETS, strength=0.1)
    expected = tiny.run(merged(module, [entry], [0.1]))
    offload_groups(module, offload_type)
    with untouched(module, lambda: tiny.run(module)), attach(module, [entry], side=side):
        assert relative_error(tiny.run(module), expected) < EXACT


@pytest.mark.usefixtures("some_accelerator")
def test_hooks_that_come_or_go_while_a_stack_is_attached_do_not_keep_it() -> None:
    from diffusers.hooks import HookRegistry

    module = copy.deepcopy(tiny.transformer())
    before, entry = tiny.run(module), random_entry(module, WAN_TARGETS, strength=0.1)
    expected = tiny.run(merged(module, [entry], [0.1]))
    with attach(module, [entry]):
        offload_groups(module, "leaf_level")
        assert relative_error(tiny.run(module), expected) < EXACT
    assert torch.equal(tiny.run(module), before)
    with attach(module, [entry]):
        HookRegistry.check_if_exists_or_initialize(module).remove_hook("group_offloading")
        for hook in ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading"):
            HookRegistry.check_if_exists_or_initialize(module).remove_hook(hook)
        assert relative_error(tiny.run(module), expected) < EXACT
    assert torch.equal(tiny.run(module), before)


@pytest.mark.parametrize("side", SIDES)
def test_weights_that_accelerate_brings_in_for_each_call_are_changed_there(side: str) -> None:
    from accelerate import cpu_offload

    module, x = small()
    entries = [random_entry(module, TARGETS, index) for index in range(3)]
    expected = merged(module, entries, [0.2, 0.1, -0.1])(x)
    cpu_offload(module, torch.device("cpu"))
    assert module.linear.weight.is_meta
    before = module(x)
    with attach(module, entries, side=side) as attachment:
        attachment.set_strengths([0.2, 0.1, -0.1])
        assert relative_error(module(x), expected) < EXACT
    assert module.linear.weight.is_meta
    assert torch.equal(module(x), before)


@pytest.mark.parametrize("side", SIDES)
def test_weights_stored_in_8_bits_and_widened_by_a_hook_are_changed_wide(side: str) -> None:
    from diffusers.hooks import apply_layerwise_casting

    module, x = small()
    apply_layerwise_casting(module, torch.float8_e4m3fn, torch.float32, skip_modules_pattern=["norm"])
    entries = [random_entry(module, TARGETS, index) for index in range(2)]
    wide = copy.deepcopy(small()[0])
    for name in ("patch", "linear", "plain", "grouped"):
        getattr(wide, name).load_state_dict(
            {key: value.float() for key, value in getattr(module, name).state_dict().items()}
        )
    expected, before = merged(wide, entries, [0.2, -0.1])(x), module(x)
    with attach(module, entries, side=side) as attachment:
        attachment.set_strengths([0.2, -0.1])
        assert relative_error(module(x), expected) < EXACT
    assert module.linear.weight.dtype == torch.float8_e4m3fn
    assert torch.equal(module(x), before)


def test_a_forward_that_somebody_else_replaced_is_called_and_given_back() -> None:
    module, x = small()
    original, calls = module.linear.forward, []
    module.linear.forward = lambda x: calls.append(1) or original(x)
    entry = random_entry(module, ["linear"], strength=0.5)
    expected = merged_linear(module, entry, x)
    with untouched(module, lambda: module(x)), attach(module, [entry]):
        calls.clear()
        assert relative_error(module(x), expected) < EXACT
        assert calls


def merged_linear(module: Small, entry: Entry, x: Tensor) -> Tensor:
    plain, _ = small()
    return merged(plain, [entry], [entry.strength])(x)


def offload_groups(module: nn.Module, offload_type: str) -> None:
    from diffusers.hooks import apply_group_offloading

    cpu = torch.device("cpu")
    blocks = {"num_blocks_per_group": 1} if offload_type == "block_level" else {}
    apply_group_offloading(module, onload_device=cpu, offload_device=cpu, offload_type=offload_type, **blocks)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_patches_on_one_module_may_be_removed_in_any_order(order: tuple[int, int]) -> None:
    layer = nn.Linear(4, 4)
    delta = FusedDelta((4, 4), [Term(0, Full(torch.ones(4, 4)))])
    patches = []
    for _ in order:
        patches.append(patch(layer, {"weight": delta}, Strengths([1.0])))
        patches[-1].install()
    for index in order:
        patches[index].remove()
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("side", SIDES)
def test_a_network_that_keeps_its_weights_packed_takes_what_was_trained_on_it(side: str) -> None:
    settings = AdapterSettings(method="qlora", base="int8", rank=4)
    network = tiny.transformer()
    trainee = make_trainee(network, settings)
    stir(trainee)
    spec = spec_of_module(network)
    packed = packed_copy(Network(network), spec, settings)
    before = call(packed)
    with attach(packed, [Entry(trainee.deltas())], spec, side=side):
        changed = call(packed)
    assert relative_error(changed, call(trainee.network).detach()) < EXACT
    assert relative_error(changed, before) > 0.01
    assert torch.equal(call(packed), before)
