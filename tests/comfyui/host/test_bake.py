"""LoRAs merged by the host's own patches: what core merges, kept when a model is saved, merged, or split before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import lora_kinds
import native
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_merging import ModelMergeSimple, ModelSave
from native import WIDE, predict, relative_error
from wanloom.lora_core import LoraStack, ModelError, StrengthSchedule
from wanloom.nodes.bake import BakeLoraStack
from wanloom.nodes.bridge import network_of
from wanloom.nodes.load import PairWanModels, SplitWanModel
from wanloom.nodes.sockets import WanModelHandle
from wanloom.nodes.stack_on_model import with_more
from wanloom.nodes.stack_on_models import LoraStackOnModels

as_in_a_node = native.as_in_a_node
SIZES = {"large layers": native.WIDE, "small layers": native.NARROW}


@pytest.fixture(autouse=True)
def loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the LoRA folder be the test's own."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    return tmp_path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> native.Host:
    return native.Host(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def experts(host: native.Host) -> tuple[ModelPatcher, ModelPatcher]:
    return host.model(WIDE, 1), host.model(WIDE, 2)


@pytest.fixture
def pair(experts: tuple[ModelPatcher, ModelPatcher]) -> WanModelHandle:
    return PairWanModels.execute(*experts).args[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return lora_kinds.save(tmp_path / "lora.safetensors", lora_kinds.FILES["LoRA"](WIDE))


def baked(model: Any, stack: LoraStack | None = None, **options: Any) -> tuple[Any, Any, str]:
    return BakeLoraStack.execute(model, stack, **options).args


def with_stack(model: WanModelHandle, stack: LoraStack) -> WanModelHandle:
    return model.with_loras(with_more(model, stack))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", lora_kinds.FILES)
def test_a_baked_lora_is_what_core_merges(host: native.Host, tmp_path: Path, size: Any, kind: str) -> None:
    import comfy.sd

    model, tensors = host.model(size), lora_kinds.FILES[kind](size)
    stack = LoraStack().add(lora_kinds.save(tmp_path / "lora.safetensors", tensors), 0.7)
    expected = predict(comfy.sd.load_lora_for_models(model, None, dict(tensors), 0.7, 0)[0])
    plain = predict(model)
    _, merged, report = baked(model, stack)
    assert relative_error(predict(merged), expected) < 1e-5
    assert "strength 0.7" in report
    assert torch.equal(predict(model), plain)


def test_both_experts_of_a_wan_model_get_their_own(pair: WanModelHandle, file: Path) -> None:
    stack = LoraStack().add(file, 0.5, low_noise_strength=0.25)
    high, low, _ = baked(with_stack(pair, stack))
    split = SplitWanModel.execute(with_stack(pair, stack)).args
    assert relative_error(predict(high), predict(split[0])) < 1e-5
    assert relative_error(predict(low), predict(split[1])) < 1e-5
    assert relative_error(predict(high), predict(pair.high_noise)) > 0.01


def test_what_was_split_is_baked_with_the_stack_it_carries(pair: WanModelHandle, file: Path) -> None:
    split = SplitWanModel.execute(with_stack(pair, LoraStack().add(file, 0.5))).args
    expected = predict(split[0])
    high, none, report = baked(split[0])
    assert relative_error(predict(high), expected) < 1e-5
    assert not high.weight_wrapper_patches
    assert "lora: high_noise 0.5" in report
    with pytest.raises(ModelError, match=r"^BakeLoraStack: what was given has no low-noise expert\. Use the other"):
        predict(none)
    assert torch.equal(predict(split[0]), expected)


def test_a_schedule_cannot_be_merged_and_is_said_to_be_left_out(pair: WanModelHandle, file: Path) -> None:
    stack = LoraStack().add(file, 0.5, schedule=StrengthSchedule.parse("fade_out"))
    assert "merged at 0.5 at every noise level; weights cannot hold fade_out" in baked(with_stack(pair, stack))[2]


def test_core_saves_what_was_baked(
    host: native.Host, pair: WanModelHandle, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    high, _, _ = baked(with_stack(pair, LoraStack().add(file, 0.5)))
    expected = predict(high)
    ModelSave().save(high, "kept")
    (saved,) = tmp_path.glob("kept*.safetensors")
    state = {name.removeprefix("model.diffusion_model."): tensor for name, tensor in _tensors(saved).items()}
    again = host.model(WIDE, 3)
    native.set_weights(again, state)
    assert relative_error(predict(again), expected) < 1e-5


def test_core_merges_what_was_baked_by_shares(experts: tuple[ModelPatcher, ModelPatcher], file: Path) -> None:
    plain = experts[0]
    _, whole, _ = baked(plain, LoraStack().add(file, 0.8))
    _, half, _ = baked(plain, LoraStack().add(file, 0.4))
    for first, second in ((whole, plain), (plain, whole)):
        (mixed,) = ModelMergeSimple().merge(first, second, 0.5)
        assert relative_error(predict(mixed), predict(half)) < 1e-5


def test_a_model_that_a_guide_steers_is_refused(pair: WanModelHandle) -> None:
    from dataclasses import replace

    from wanloom.lora_core import SteerSettings
    from wanloom.nodes.sockets import GuideHandle

    with pytest.raises(ModelError, match=r"a guide steers it, which no weights can hold\. Bake the model without"):
        baked(replace(pair, guide=GuideHandle(pair, SteerSettings())))


def test_rows_on_models_do_what_the_whole_chain_does(experts: tuple[ModelPatcher, ModelPatcher], file: Path) -> None:
    row = f'[{{"path": "{file}", "weight": 0.5, "schedule": "fade_out", "low_noise_path": "{file}"}}]'
    high, low, report, stack, words, _ = LoraStackOnModels.execute(experts[0], row, 6, experts[1]).args
    model = PairWanModels.execute(*experts).args[0]
    split = SplitWanModel.execute(with_stack(model, LoraStack.from_json(row))).args
    for sigma in (0.95, 0.5):
        assert torch.equal(predict(high, sigma), predict(split[0], sigma))
        assert torch.equal(predict(low, sigma), predict(split[1], sigma))
    assert "high_noise 0.5" in report
    assert len(stack) == 1
    assert words == ""
    assert network_of(high) is network_of(experts[0])


def test_rows_on_one_model_leave_the_second_output_empty(
    experts: tuple[ModelPatcher, ModelPatcher], file: Path
) -> None:
    one, none, *_ = LoraStackOnModels.execute(experts[0], f'[{{"path": "{file}"}}]', 6).args
    assert relative_error(predict(one), predict(experts[0])) > 0.01
    assert not hasattr(none, "is_dynamic")
    with pytest.raises(ModelError, match=r"one MODEL was given, and it is at the first output\. Connect low_noise\.$"):
        predict(none)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
