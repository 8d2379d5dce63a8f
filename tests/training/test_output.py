"""What a training leaves: files that load as they are in diffusers, in PEFT and here, and act as what was trained."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import peft
import pytest
import tiny
import torch
from full_disk import files_of_at_most
from safetensors import safe_open
from torch import Tensor, nn

from lora_core.apply.attachment import attach
from lora_core.deltas import Delta, Full, LoKr, Lora
from lora_core.errors import OutputError, TrainingError
from lora_core.experts import EXPERTS
from lora_core.families.registry import FAMILIES, spec_of_module
from lora_core.families.wan.open import open_wan
from lora_core.files.read import read_lora
from lora_core.files.write import write_lora
from lora_core.plan.route import RoutedLora
from lora_core.training.facts import ExpertFacts, RunFacts
from lora_core.training.output import write_pair, write_weights

# PEFT warns of its own lora_B.bias when it saves it.
pytestmark = pytest.mark.filterwarnings("ignore:Adapter 'default'")

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2"]
KINDS = {
    "lora": lambda: peft.LoraConfig(r=4, lora_alpha=2, target_modules=TARGETS, init_lora_weights=False),
    "rslora": lambda: peft.LoraConfig(
        r=4, lora_alpha=2, target_modules=TARGETS, init_lora_weights=False, use_rslora=True
    ),
    "some layers of one block": lambda: peft.LoraConfig(
        r=4, lora_alpha=2, target_modules=["blocks.1.attn1.to_q", "blocks.1.ffn.net.2"], init_lora_weights=False
    ),
    "dora": lambda: peft.LoraConfig(r=4, lora_alpha=2, target_modules=TARGETS, init_lora_weights=False, use_dora=True),
    "loha": lambda: peft.LoHaConfig(r=4, alpha=2, target_modules=TARGETS, init_weights=False),
    "lokr": lambda: peft.LoKrConfig(r=4, alpha=2, target_modules=TARGETS, init_weights=False),
    "lokr in full": lambda: peft.LoKrConfig(r=64, alpha=2, target_modules=TARGETS, init_weights=False),
}
#: What diffusers knows in the dialect that is written.
IN_DIFFUSERS = ("lora", "rslora", "some layers of one block")
FACTS = RunFacts(
    base="wan2.2-i2v-a14b",
    boundary=0.9,
    experts={
        "high_noise": ExpertFacts(num_steps=2000, base_file="high.safetensors", base_hash="ab" * 32, t_range=(0.9, 1)),
        "low_noise": ExpertFacts(num_steps=1500, t_range=(0, 0.9), held_out_loss=0.0625),
    },
    purpose="motion",
    trigger="zibbo ball",
    learning_rate=2e-4,
    optimizer="adamw",
    seed=3,
    num_clips=12,
    size=(832, 480),
    captions={"a zibbo ball rolls": 2},
    data_digest="d1",
    config_hash="c1",
    finished=datetime(2026, 8, 1, 12, 30, tzinfo=timezone.utc),
)


def fresh(seed: int) -> nn.Module:
    module = tiny.transformer(seed)
    copy = type(module).from_config(module.config)
    copy.load_state_dict(module.state_dict())
    return copy.requires_grad_(False).eval()


def trained(kind: str, seed: int, folder: Path) -> tuple[dict[str, Delta], Tensor]:
    """Return (the deltas of an adapter that peft made, what its network computes)."""
    torch.manual_seed(10 + seed)
    model = peft.get_peft_model(fresh(seed), KINDS[kind]()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1.5)
    model.save_pretrained(folder)
    path = folder / "adapter_model.safetensors"
    return dict(read_lora(path, spec=spec_of_module(tiny.transformer())).deltas), tiny.run(model.base_model.model)


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path):
    """Return (the kind, the files written, expert -> what its network computes)."""
    deltas, outputs = {}, {}
    for seed, expert in enumerate(EXPERTS):
        deltas[expert], outputs[expert] = trained(request.param, seed, tmp_path / expert)
    return request.param, write_pair(deltas, tmp_path / "out", "orbit", FACTS), outputs


def test_a_pair_acts_here_as_it_was_trained(pair) -> None:
    _, paths, outputs = pair
    assert [path.name for path in paths.values()] == ["orbit_high_noise.safetensors", "orbit_low_noise.safetensors"]
    for seed, expert in enumerate(EXPERTS):
        network = fresh(seed)
        lora = read_lora(paths[expert], spec=network)
        routed = RoutedLora("orbit", 0, expert, 1.0, lora.for_expert(expert), {}, None, expert, None)
        base = tiny.run(network)
        with attach(network, [routed]):
            found = tiny.run(network)
        assert float((outputs[expert] - base).norm() / base.norm()) > 0.002
        torch.testing.assert_close(found, outputs[expert], rtol=1e-4, atol=1e-5)


def pipeline():
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    return WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=tiny.vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        transformer=fresh(0),
        transformer_2=fresh(1),
        boundary_ratio=0.9,
    )


def test_a_pair_loads_into_both_transformers_of_a_diffusers_pipeline_or_is_refused(pair) -> None:
    kind, paths, outputs = pair
    pipe = pipeline()
    if kind not in IN_DIFFUSERS:
        with pytest.raises((ValueError, KeyError, UnboundLocalError)):  # as its converter stumbles
            pipe.load_lora_weights(str(paths["high_noise"]))
        return
    pipe.load_lora_weights(str(paths["high_noise"]), adapter_name="orbit")
    pipe.load_lora_weights(str(paths["low_noise"]), adapter_name="orbit", load_into_transformer_2=True)
    torch.testing.assert_close(tiny.run(pipe.transformer), outputs["high_noise"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tiny.run(pipe.transformer_2), outputs["low_noise"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "loha"])
def test_peft_loads_what_convert_makes_of_a_file(kind: str, tmp_path: Path) -> None:
    deltas, output = trained(kind, 0, tmp_path / "trained")
    facts = replace(FACTS, experts={"high_noise": FACTS.experts["high_noise"]})
    (path,) = write_pair({"high_noise": deltas}, tmp_path, "orbit", facts).values()
    write_lora(read_lora(path), tmp_path / "peft" / "adapter_model.safetensors", dialect="peft")
    model = peft.PeftModel.from_pretrained(fresh(0), tmp_path / "peft").eval()
    torch.testing.assert_close(tiny.run(model.base_model.model), output, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- metadata


def lora(rank: int = 4, dtype: torch.dtype = torch.float32) -> dict[str, Delta]:
    torch.manual_seed(rank)
    targets = ("blocks.0.self_attn.q", "blocks.1.cross_attn.v")
    return {
        t: Lora(torch.randn(rank, 5120, dtype=dtype), torch.randn(5120, rank, dtype=dtype), None, 0.5) for t in targets
    }


def test_the_readers_here_find_all_that_was_told(tmp_path: Path) -> None:
    paths = write_pair({expert: lora() for expert in EXPERTS}, tmp_path, "orbit", FACTS)
    high, low = (read_lora(paths[expert]) for expert in EXPERTS)
    for expert, weights in zip(EXPERTS, (high, low), strict=True):
        assert (weights.expert, weights.expert_source) == (expert, "metadata 'expert'")
        assert (weights.base, weights.purpose) == ("wan2.2-i2v-a14b", "motion")
        assert weights.trigger_words == ("zibbo ball",)
        assert (weights.notes, weights.dialect, weights.ranks) == ((), "comfyui", (4,))
    assert float(high.metadata["boundary"]) == 0.9
    assert (float(high.metadata["t_min"]), float(high.metadata["t_max"])) == (0.9, 1)
    assert high.metadata["base_sha256"] == "ab" * 32
    assert (high.metadata["data_digest"], high.metadata["config_hash"]) == ("d1", "c1")
    assert (high.metadata["num_training_steps"], low.metadata["num_training_steps"]) == ("2000", "1500")
    assert "held_out_loss" not in high.metadata
    assert float(low.metadata["held_out_loss"]) == 0.0625


def test_the_timestep_range_alone_tells_the_expert_too(tmp_path: Path) -> None:
    """As for a tool that copies the model specification's entries and no others."""
    paths = write_pair({expert: lora() for expert in EXPERTS}, tmp_path, "orbit", FACTS)
    for expert in EXPERTS:
        weights = read_lora(paths[expert])
        spec_alone = {key: text for key, text in weights.metadata.items() if key.startswith("modelspec.")}
        bare = replace(weights, metadata=spec_alone, expert=None)
        again = read_lora(write_lora(bare, tmp_path / "bare" / f"{expert[0]}1.safetensors"))
        assert again.expert == expert
        assert "timestep_range" in again.expert_source


def test_kohyas_tools_are_shown_what_they_show(tmp_path: Path) -> None:
    metadata = read_lora(write_pair({e: lora() for e in EXPERTS}, tmp_path, "orbit", FACTS)["high_noise"]).metadata
    assert metadata["ss_network_dim"] == "4"
    assert metadata["ss_network_alpha"] == "2"
    assert metadata["ss_base_model_version"] == "wan2.2-i2v-a14b"
    assert metadata["ss_sd_model_name"] == "high.safetensors"
    assert metadata["ss_learning_rate"] == "0.0002"
    assert metadata["ss_steps"] == metadata["ss_max_train_steps"] == "2000"
    assert metadata["ss_output_name"] == "orbit_high_noise"
    assert metadata["ss_tag_frequency"] == '{"clips": {"a zibbo ball rolls": 2}}'
    assert metadata["modelspec.date"] == "2026-08-01T12:30:00+00:00"
    assert metadata["modelspec.resolution"] == "832x480"
    assert metadata["modelspec.architecture"] == "wan2.2-i2v-a14b/lora"
    assert metadata["modelspec.timestep_range"] == "900,1000"


def test_kohyas_alpha_is_not_told_where_a_delta_has_none_of_its_own(tmp_path: Path) -> None:
    """A reader would divide a factor that is stored in full by it."""
    whole = {"blocks.0.self_attn.q": LoKr(w1=torch.randn(2, 2), w2=torch.randn(4, 4), scale=0.5)}
    facts = replace(FACTS, experts={"low_noise": ExpertFacts(num_steps=1)})
    mixed = whole | {"blocks.0.self_attn.k": LoKr(w1=torch.randn(2, 2), w2a=torch.randn(4, 2), w2b=torch.randn(2, 4))}
    (path,) = write_pair({"low_noise": mixed}, tmp_path, "x", facts).values()
    back = read_lora(path)
    assert "ss_network_alpha" not in back.metadata
    for target, delta in mixed.items():
        torch.testing.assert_close(back.deltas[target].dense(), delta.dense())


def test_a_model_of_one_expert_leaves_one_file_that_is_no_half_of_a_pair(tmp_path: Path) -> None:
    facts = replace(FACTS, base="wan2.1-t2v-14b", boundary=None, experts={"low_noise": ExpertFacts(num_steps=5)})
    paths = write_pair({"low_noise": lora()}, tmp_path, "orbit", facts)
    assert [path.name for path in tmp_path.iterdir()] == ["orbit.safetensors"]
    weights = read_lora(paths["low_noise"])
    assert (weights.expert, weights.base) == (None, "wan2.1-t2v-14b")


def test_tensors_are_written_in_the_dtype_asked_for(tmp_path: Path) -> None:
    paths = write_pair({e: lora() for e in EXPERTS}, tmp_path, "orbit", FACTS, dtype=torch.bfloat16)
    delta = read_lora(paths["high_noise"]).deltas["blocks.0.self_attn.q"]
    assert delta.down.dtype == delta.up.dtype == torch.bfloat16
    assert delta.scale == 0.5


# ---------------------------------------------------------------------------------------------- all or none


@pytest.mark.parametrize("has_older", [False, True])
def test_if_the_second_file_cannot_be_written_the_first_does_not_stay(tmp_path: Path, has_older: bool) -> None:
    if has_older:
        write_pair({expert: lora(2) for expert in EXPERTS}, tmp_path, "orbit", FACTS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    small, large = lora(1), lora(32)
    with files_of_at_most(200_000), pytest.raises(OutputError) as caught:
        write_pair({"high_noise": small, "low_noise": large}, tmp_path, "orbit", FACTS)
    assert str(caught.value).startswith(f"{tmp_path / 'orbit_low_noise.safetensors'}: cannot be written: ")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    broken = lora()
    broken["blocks.1.cross_attn.v"].up[3, 2] = float("nan")
    with pytest.raises(TrainingError) as caught:
        write_pair({"high_noise": lora(), "low_noise": broken}, tmp_path / "out", "orbit", FACTS)
    assert str(caught.value) == (
        "low_noise: 1 of 20,480 values of 'blocks.1.cross_attn.v' are NaN or infinite (finite numbers). "
        "Go on from an earlier checkpoint, with a lower learning rate."
    )
    assert not (tmp_path / "out").exists()


def test_an_expert_that_is_missing_or_a_name_with_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="output: weights of high_noise \\(those that were trained: high_noise, low"
    ):
        write_pair({"high_noise": lora()}, tmp_path, "orbit", FACTS)
    with pytest.raises(OutputError, match="a/b: is no file's name"):
        write_pair({expert: lora() for expert in EXPERTS}, tmp_path, "a/b", FACTS)


# ---------------------------------------------------------------------------------------------- whole weights


def changed_state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(20)
    return {name: value + 0.01 * torch.randn_like(value) for name, value in tiny.transformer(seed).state_dict().items()}


@pytest.mark.parametrize("dtype", [None, torch.float16], ids=str)
def test_whole_experts_are_opened_as_what_was_written(tmp_path: Path, dtype: torch.dtype | None) -> None:
    """From a module's names, diffusers' here, to ComfyUI's."""
    spec = spec_of_module(tiny.transformer())
    states = {expert: changed_state(seed) for seed, expert in enumerate(EXPERTS)}
    paths = write_weights(
        {expert: lambda expert=expert: states[expert] for expert in EXPERTS},
        tmp_path,
        "tuned",
        replace(FACTS, method="full"),
        spec=spec,
        header=FAMILIES[0].header(tiny.transformer()),
        dtype=dtype,
    )
    with safe_open(paths["low_noise"], framework="pt") as file:
        assert "blocks.0.self_attn.q.weight" in file.keys()  # noqa: SIM118  # no dictionary
        assert file.metadata()["modelspec.architecture"] == "wan2.2-i2v-a14b"
        assert file.get_tensor("blocks.0.modulation").dtype == (dtype or torch.float32)
    model = open_wan(paths["high_noise"])
    for seed, expert in enumerate(EXPERTS):
        network = fresh(seed)
        network.load_state_dict({name: t.to(dtype or t.dtype).float() for name, t in states[expert].items()})
        tiny.assert_alike(tiny.run(model.expert(expert)), tiny.run(network))


def test_weights_that_lack_a_parameter_are_not_written(tmp_path: Path) -> None:
    state = changed_state(0)
    state["surplus"] = state.pop("proj_out.weight")
    facts = replace(FACTS, method="full", experts={"high_noise": ExpertFacts(num_steps=1)})
    spec = spec_of_module(tiny.transformer())
    with pytest.raises(TrainingError) as caught:
        write_weights({"high_noise": lambda: state}, tmp_path, "tuned", facts, spec=spec, header={})
    assert str(caught.value) == (
        f"{tmp_path / 'tuned_high_noise.safetensors'}: weights that are missing: head.head; unknown ones: surplus "
        f"(the {len(spec.shapes)} parameters of {spec.title}). "
        "Train again from a sound checkpoint."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_full_difference_goes_into_a_lora_file_too(tmp_path: Path) -> None:
    facts = replace(FACTS, experts={"low_noise": ExpertFacts(num_steps=1)})
    change = {"blocks.0.self_attn.q.bias": Full(torch.randn(5120)), **lora()}
    (path,) = write_pair({"low_noise": change}, tmp_path, "x", facts).values()
    back = read_lora(path).deltas
    assert torch.equal(back["blocks.0.self_attn.q.bias"].dense(), change["blocks.0.self_attn.q.bias"].diff)
