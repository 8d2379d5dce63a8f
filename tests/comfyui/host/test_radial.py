"""Radial attention in ComfyUI's own sampling: what headless gives, on self-attention alone, in every kind of run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
import lora_kinds
import native
import nodes
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.torch_helpers import set_torch_compile_wrapper
from native import relative_error
from sampling import (
    NEGATIVE,
    POSITIVE,
    SEED,
    SHIFT,
    STEPS,
    SWITCH,
    Latent,
    core_advanced,
    core_custom,
    core_pair,
    ours,
    shifted,
)
from torch import Tensor
from wanloom.lora_core import (
    Condition,
    LoraStack,
    ModelError,
    PlanError,
    RadialWishes,
    RequestError,
    RunSettings,
    WanModel,
    draw_noise,
    flow_sigmas,
    load_stack,
    make_controller,
    open_wan,
    sample,
)
from wanloom.lora_core.families.wan.spec import WanSize
from wanloom.nodes.bake import BakeLoraStack
from wanloom.nodes.folders import lora_folders
from wanloom.nodes.load import SplitWanModel, paired
from wanloom.nodes.radial import RadialAttention
from wanloom.nodes.sockets import WanModelHandle, model_of
from wanloom.nodes.steer import SteerByModel

as_in_a_node = native.as_in_a_node
host = native.host
#: 9 latent frames of 16 tokens, which is 144.
SHAPE = (1, 16, 9, 8, 8)
WISHES = {"decay": "0.5", "first_steps": "2", "last_steps": "1", "first_blocks": "0", "executor": "auto"}
ALL = {**WISHES, "first_steps": "0", "last_steps": "0"}
CLOSE = 1e-4
#: Of the radial steps: 2 first and 1 last of 8 are dense, in each of 2 blocks.
NUM_RADIAL = 2 * (STEPS - 3)


def long(**entries: Any) -> Latent:
    return {"samples": torch.zeros(SHAPE), **entries}


def radial(model: Any, **options: Any) -> Any:
    return RadialAttention.execute(model=model, **{**WISHES, **options}).args[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [native.save_model(folder / f"{name}.safetensors", seed=i) for i, name in enumerate(("high", "low"))]


@pytest.fixture(scope="module")
def pair(files: list[Path]) -> WanModelHandle:
    host = native.Host(files[0].parent)
    return paired(*(host.open(file) for file in files), "test")


@pytest.fixture(scope="module")
def dressed(pair: WanModelHandle) -> WanModelHandle:
    """The pair with a LoRA that fades, on both experts."""
    folder = Path(folder_paths.get_folder_paths("loras")[0]) / "radial"
    folder.mkdir(parents=True)
    path = lora_kinds.save(folder / "style.safetensors", lora_kinds.layer_tensors(lora_kinds.lora))
    stack = LoraStack().add(path, 0.6, "both", schedule="fade_out@steps")
    return pair.with_loras(load_stack(stack, pair.spec, lora_folders=lora_folders()))


@pytest.fixture(scope="module")
def headless(files: list[Path]) -> WanModel:
    pytest.importorskip("diffusers", reason="diffusers, whose networks lora_core runs, is not installed")
    return open_wan(files[0], low_noise=files[1], dtype=torch.float32)


def expected(headless: WanModel, model: WanModelHandle, cfg: float = 1.0) -> Tensor:
    """Return what lora_core's own sampling gives with radial attention, the same LoRAs and noise."""
    plan = model.plan(RunSettings(num_steps=STEPS, shift=SHIFT, cfg=cfg))
    settings = RadialWishes.parse("decay=0.5,first=2,last=1,blocks=0").settings(model.spec, SHAPE[2])
    controller = make_controller(model.spec, SHAPE, STEPS, settings)
    condition = Condition(POSITIVE[0][0], NEGATIVE[0][0])
    with torch.inference_mode():
        latents = sample(headless, plan, draw_noise(SHAPE, SEED), condition, radial=controller)
    assert controller.num_radial == NUM_RADIAL * (1 if cfg == 1 else 2)
    return latents


# ------------------------------------------------------------------------------------------ both engines, every sampler


@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_sampler_6_step_gives_what_headless_gives(headless: WanModel, dressed: WanModelHandle, cfg: float) -> None:
    """With guidance the host batches both prompts, or runs them one after the other: they do not mix."""
    found = ours(radial(dressed), long(), cfg_high=cfg, cfg_low=cfg, negative=NEGATIVE)[0]["samples"]
    assert relative_error(found, expected(headless, dressed, cfg)) < CLOSE
    assert (
        relative_error(found, ours(dressed, long(), cfg_high=cfg, cfg_low=cfg, negative=NEGATIVE)[0]["samples"])
        > 10 * CLOSE
    )


def test_a_split_pair_of_ksamplers_counts_the_steps_of_the_whole_run(
    headless: WanModel, dressed: WanModelHandle
) -> None:
    """Each sampler knows the levels of its part alone."""
    planned = replace(dressed, settings=RunSettings(num_steps=STEPS, shift=SHIFT), is_routed=True)
    high, low = SplitWanModel.execute(radial(planned)).args[:2]
    found = core_pair(model_of(dressed.spec, low, high), long())["samples"]
    assert relative_error(found, expected(headless, dressed)) < CLOSE


def test_models_with_the_node_behind_their_loaders_count_by_its_steps(pair: WanModelHandle, headless: WanModel) -> None:
    high, low = (radial(patcher, steps=STEPS) for patcher in (pair.high_noise, pair.low_noise))
    found = core_pair(model_of(pair.spec, low, high), long())["samples"]
    assert relative_error(found, expected(headless, pair)) < CLOSE
    assert relative_error(ours(paired(high, low, "test"), long())[0]["samples"], found) < CLOSE


def test_one_sampler_that_does_the_whole_run_is_counted_by_itself(pair: WanModelHandle) -> None:
    single = paired(pair.low_noise, None, "test")
    found = core_custom(radial(single.low_noise), long())[0]["samples"]
    assert relative_error(found, ours(radial(single), long())[0]["samples"]) < CLOSE


def test_a_part_of_a_run_that_nobody_placed_is_an_error(pair: WanModelHandle) -> None:
    model = radial(pair.high_noise)
    with pytest.raises(PlanError) as refused:
        core_advanced(model, long(), end_at_step=SWITCH, return_with_leftover_noise="enable")
    assert str(refused.value) == (
        "RadialAttention: the sampler does a part of a run, from noise level 1 to 0.833 (how many steps the whole run "
        "has). Give the steps of all samplers together as steps."
    )
    with pytest.raises(PlanError, match=r"from noise level 0\.833 to 0 "):
        core_advanced(model, long(), start_at_step=SWITCH, add_noise="disable")


def test_denoise_below_1_counts_the_steps_that_are_done(pair: WanModelHandle) -> None:
    def run(model: ModelPatcher) -> Tensor:
        video = {"samples": draw_noise(SHAPE, 3)}
        options = (SEED, 4, 1.0, "euler", "simple", POSITIVE, NEGATIVE, video)
        return nodes.KSampler().sample(shifted(model), *options, denoise=0.5)[0]["samples"]

    dense = run(pair.low_noise)
    assert (
        torch.equal(run(radial(pair.low_noise, steps=4, first_steps="2", last_steps="1", first_blocks="1")), dense)
        is False
    )
    with pytest.raises(PlanError, match="a part of a run"):
        run(radial(pair.low_noise))


# ------------------------------------------------------------------------------------------ what is asked, what is told


def summary(model: WanModelHandle, latent: Latent) -> str:
    from wanloom.nodes.sample import Sampler6Step

    run = {"positive": POSITIVE, "seed": SEED, "steps": STEPS, "shift": SHIFT, "cfg_high": 1.0, "cfg_low": 1.0}
    rest = {"solver": "euler", "boundary": "auto", "denoise": 1.0, "negative": NEGATIVE}
    return " ".join(Sampler6Step.execute(model=model, latent=latent, **run, **rest).ui["text"][0].split())


def test_the_sampler_and_the_node_say_what_ran(pair: WanModelHandle) -> None:
    told: list[str] = []
    model = radial(pair)
    watched = replace(model, radial=replace(model.radial, tell=told.append))
    text = summary(watched, long())
    assert f"radial attention: {NUM_RADIAL} of {2 * STEPS} self-attentions were radial" in text
    assert "of the pairs of 9 latent frames are kept, which leaves" in text
    assert len(told) == 2  # one for each expert's part, the last of the whole
    assert " ".join(told[-1].split()) in text


def test_a_text_as_long_as_the_clip_is_no_self_attention(pair: WanModelHandle) -> None:
    """Cross-attention then has the same shapes, and comes second in its block."""
    single = paired(pair.low_noise, None, "test")
    text = [[torch.randn(1, 144, native.WIDE.text_width, generator=torch.Generator().manual_seed(1)), {}]]
    asked: list[int] = []

    def other(func: Any, q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        asked.append(k.shape[1])
        return func(q, k, *args, **kwargs)

    model = single.low_noise.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = other
    ours(replace(radial(single, **ALL), low_noise=model), long(), positive=text)
    assert len(asked) == 2 * STEPS  # the cross-attentions alone


def test_another_override_keeps_what_is_not_radial_and_the_node_names_it(pair: WanModelHandle) -> None:
    calls: list[tuple[int, int]] = []

    def other(func: Any, q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        calls.append((q.shape[1], k.shape[1]))
        return func(q, k, *args, **kwargs)

    model = pair.low_noise.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = other
    changed, report = RadialAttention.execute(model=model, **WISHES).args
    assert "note: another attention override is on the model, and computes what is not radial: test_radial." in report
    found = core_custom(changed, long())[0]["samples"]
    assert calls.count((144, 144)) == 2 * STEPS - NUM_RADIAL
    assert calls.count((144, 5)) == 2 * STEPS
    assert relative_error(found, core_custom(radial(pair.low_noise), long())[0]["samples"]) < CLOSE


def test_an_override_that_takes_its_place_is_an_error_and_not_dense_attention(pair: WanModelHandle) -> None:
    def other(func: Any, *args: Any, **kwargs: Any) -> Tensor:
        return func(*args, **kwargs)

    model = radial(pair.low_noise)
    model.model_options["transformer_options"]["optimized_attention_override"] = other
    with pytest.raises(
        ModelError, match=r"attention override has taken its place: test_radial\..*Put RadialAttention behind"
    ):
        core_custom(model, long())


def test_pictures_that_ride_along_as_tokens_are_an_error(pair: WanModelHandle) -> None:
    reference = [[POSITIVE[0][0], {"time_dim_concat": torch.zeros(1, 16, 1, 8, 8)}]]
    single = paired(pair.low_noise, None, "test")
    with pytest.raises(
        ModelError, match=r"self-attention over 160 by 160 tokens, of which 9 latent frames of 16 make only 144"
    ):
        ours(radial(single), long(), positive=reference)


def test_a_compiled_model_is_radial_where_it_is_meant_to_be(host: native.Host) -> None:
    """As TorchCompileModel does it, whose compiled network does not look whether its options changed."""
    model = host.model(WanSize(width=32, ffn_width=32, num_blocks=1, text_width=native.WIDE.text_width))
    compiled = model.clone(disable_dynamic=True)
    guards = {"guard_filter_fn": lambda entries: [("transformer_options" not in entry.name) for entry in entries]}
    set_torch_compile_wrapper(model=compiled, backend="eager", options=guards)
    levels = torch.tensor(flow_sigmas(3, SHIFT))

    def run(model: ModelPatcher) -> Tensor:
        return core_custom(model, long(), sigmas=levels)[0]["samples"]

    dense, wanted = run(model), run(radial(model, first_steps="1"))
    assert relative_error(run(compiled), dense) < CLOSE
    assert relative_error(run(radial(compiled, first_steps="1")), wanted) < CLOSE
    assert relative_error(wanted, dense) > 10 * CLOSE


def test_the_model_itself_stays_dense(pair: WanModelHandle) -> None:
    before = core_custom(pair.low_noise, long())[0]["samples"]
    core_custom(radial(pair.low_noise), long())
    assert torch.equal(core_custom(pair.low_noise, long())[0]["samples"], before)


def test_a_guide_is_radial_where_its_own_node_says_so(
    files: list[Path], pair: WanModelHandle, dressed: WanModelHandle
) -> None:
    """It is asked with and without its LoRAs at each step, and its steps are those of the large model's run."""
    host = native.Host(files[0].parent)
    again = paired(*(host.open(file) for file in files), "test")
    told: list[str] = []
    guide = radial(again.with_loras(dressed.loaded))
    guide = replace(guide, radial=replace(guide.radial, tell=told.append))
    options = {"strength": 1.0, "schedule": "", "above": "none", "cfg": 0.0}

    def steered(guide: WanModelHandle) -> Tensor:
        model = SteerByModel.execute(model=pair, guide=guide, **options).args[0]
        return ours(model, long(), negative=NEGATIVE)[0]["samples"]

    found = steered(guide)
    # Of the low-noise expert: three of its four steps, in two blocks, twice.
    assert "radial attention: 12 of 16 self-attentions were radial" in told[-1]
    assert relative_error(found, steered(replace(guide, radial=None))) > CLOSE


# ------------------------------------------------------------------------------------------ the node


def test_the_report_counts_for_the_latent_or_for_the_usual_length_and_twice_it(pair: WanModelHandle) -> None:
    usual = dict.fromkeys(("decay", "first_steps", "last_steps", "first_blocks"), "usual")
    text = RadialAttention.execute(model=pair, executor="auto", **usual).args[1]
    assert "81 frames of 832x480: decay 0.8; dense: first steps 25%, last steps 1, first blocks 1" in text
    assert "it hardly pays below about 41 latent frames, twice the usual length" in text
    assert "161 frames of 832x480: decay 1; dense: first steps 2, last steps 1" in text
    text = RadialAttention.execute(model=pair, latent=long(), **WISHES).args[1]
    assert "33 frames of 64x64: decay 0.5; dense: first steps 2, last steps 1, first blocks 0" in text
    assert "832x480" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_steps": "9"}, "first_steps: 9 is out of range (0 to 8). Choose a number in that range."),
        (
            {"first_steps": "7"},
            "radial attention: 7 first and 1 last steps of 8 stay dense, which leaves none. "
            "Take more steps, or let fewer be dense.",
        ),
        (
            {"first_blocks": "100%"},
            "first_blocks: all 2 blocks stay dense (fewer than 2). Let fewer blocks stay dense.",
        ),
    ],
)
def test_more_dense_than_there_is_is_said_before_a_network_runs(
    pair: WanModelHandle, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(pair.low_noise.model.diffusion_model), "forward", None)
    if "first_steps" in options:
        routed = replace(pair, settings=RunSettings(num_steps=STEPS), is_routed=True)
        with pytest.raises(PlanError) as refused:
            radial(routed, **options)
        assert str(refused.value) == message
    with pytest.raises(PlanError) as refused:
        ours(radial(pair, **options), long())
    assert str(refused.value) == message


def test_a_bad_value_is_said_at_the_node() -> None:
    assert RadialAttention.validate_inputs(**{key: WISHES[key] for key in ("decay", "first_steps")}) is True
    for bad in ({"decay": "0"}, {"decay": "wide"}, {"first_steps": "-1"}, {"last_steps": "150%"}):
        assert RadialAttention.validate_inputs(**bad) is not True


def test_what_cannot_carry_it_says_so(pair: WanModelHandle) -> None:
    once = radial(pair)
    for twice in (once, radial(pair.low_noise)):
        with pytest.raises(ModelError, match=r"radial attention is on the model already\. Keep one of the two nodes"):
            radial(twice)
    with pytest.raises(RequestError, match=r"^steps: a Wan model knows how many steps its run has\. Leave it at 0"):
        radial(pair, steps=8)
    with pytest.raises(ModelError, match=r"^RadialAttention: dict is no model \(a WAN_MODEL or a MODEL\)"):
        radial({"samples": 1})
    with pytest.raises(
        ModelError, match=r"radial attention is on it, which no weights can hold\. Put RadialAttention behind"
    ):
        BakeLoraStack.execute(model=once)


def test_a_network_with_attention_of_other_kinds_is_refused_by_name(pair: WanModelHandle) -> None:
    from comfy.ldm.wan.model import CameraWanModel

    network = pair.low_noise.model.diffusion_model
    kind = type(network)
    network.__class__ = CameraWanModel
    try:
        with pytest.raises(
            ModelError, match=r"its network is a CameraWanModel, and the order of its tokens is not known"
        ):
            radial(pair.low_noise)
    finally:
        network.__class__ = kind
