"""Scale: where alpha is not in the file it is found where the trainer put it, and only if it belongs to the file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from spellings import AB, DOWN_UP, Spelling, native, random_pairs, save, spelled

from lora_core.errors import LoraFileError
from lora_core.families.wan.spec import wan_spec
from lora_core.files.read import read_lora
from lora_core.files.weights import LoraWeights
from lora_core.files.write import write_lora

POCKET = wan_spec("wan-pocket")
PEFT_NAMES = Spelling("diffusion_model.", native, AB)
KOHYA_NAMES = Spelling("diffusion_model.", native, DOWN_UP)
RANK = 4


def write(path: Path, spelling: Spelling = PEFT_NAMES, metadata: dict[str, str] | None = None) -> Path:
    """Write a LoRA without alpha tensors."""
    return save(path, spelled(spelling, random_pairs(RANK), alpha=RANK), metadata)


def config(folder: Path, **entries: object) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(entries))


def scales(path: Path) -> set[float]:
    return {round(delta.scale, 6) for delta in read_lora(path, spec=POCKET).deltas.values()}


def test_without_any_word_the_scale_is_one(tmp_path: Path) -> None:
    assert scales(write(tmp_path / "x.safetensors")) == {1.0}


def test_adapter_config_beside_the_only_file_gives_alpha(tmp_path: Path) -> None:
    config(tmp_path, peft_type="LORA", r=RANK, lora_alpha=2)
    assert scales(write(tmp_path / "x.safetensors")) == {0.5}


def test_rslora_divides_by_the_root_of_the_rank(tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=3, use_rslora=True)
    assert scales(write(tmp_path / "adapter_model.safetensors")) == {1.5}


def test_alpha_in_the_file_outweighs_everything(tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=100)
    tensors = spelled(Spelling("", native, DOWN_UP, torch.tensor), random_pairs(RANK), alpha=1.0)
    metadata = {"ss_network_alpha": "50", "lora_adapter_metadata": json.dumps({"lora_alpha": 70, "r": RANK})}
    assert scales(save(tmp_path / "x.safetensors", tensors, metadata)) == {0.25}


def test_metadata_outweighs_the_configuration_beside_the_file(tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=100)
    metadata = {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "r": RANK})}
    assert scales(write(tmp_path / "x.safetensors", metadata=metadata)) == {2.0}


def test_diffusers_metadata_is_kept_by_network(tmp_path: Path) -> None:
    entries = {
        "transformer.lora_alpha": 8,
        "transformer.r": RANK,
        "transformer_2.lora_alpha": 2,
        "transformer_2.r": RANK,
    }
    tensors = spelled(Spelling("transformer.", native, AB), random_pairs(RANK), RANK)
    tensors |= spelled(Spelling("transformer_2.", native, AB), random_pairs(RANK), RANK)
    path = save(tmp_path / "x.safetensors", tensors, {"lora_adapter_metadata": json.dumps(entries)})
    weights = read_lora(path, spec=POCKET)
    assert {delta.scale for delta in weights.for_expert("high_noise").values()} == {2.0}
    assert {delta.scale for delta in weights.for_expert("low_noise").values()} == {0.5}


#: Who states alpha where -> the metadata that state 2, for tensors of rank 4.
STATED: dict[str, dict[str, str]] = {
    "finetrainers": {"lora_config": json.dumps({"r": RANK, "lora_alpha": 2, "target_modules": ["to_q"]}, indent=4)},
    "finetrainers, beside another's": {
        "lora_adapter_metadata": json.dumps({"transformer.target_modules": ["to_q"]}),
        "lora_config": json.dumps({"r": RANK, "lora_alpha": 2}),
    },
    "other words": {"lora_config": json.dumps({"rank": RANK, "alpha": 2})},
    "lightx2v": {"lora_alpha": "2"},
    "by network": {"transformer.lora_alpha": "2", "transformer.r": str(RANK)},
    "plainly": {"alpha": "2.0", "rank": str(RANK)},
    "after kohya": {"network_alpha": "2", "network_dim": str(RANK)},
    "rsLoRA": {"lora_alpha": "1", "use_rslora": "True"},
    "no rsLoRA": {"lora_alpha": "2", "use_rslora": "False"},
    "by module": {"alpha_pattern": json.dumps({".*": 2})},
}


@pytest.mark.parametrize("tool", STATED)
@pytest.mark.parametrize("spelling", [PEFT_NAMES, KOHYA_NAMES])
def test_alpha_is_read_wherever_metadata_state_it(tool: str, spelling: Spelling, tmp_path: Path) -> None:
    assert scales(write(tmp_path / "x.safetensors", spelling, STATED[tool])) == {0.5}


@pytest.mark.parametrize("value", ["None", "null", ""])
def test_an_entry_that_states_nothing_leaves_the_word_to_the_next(value: str, tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=2)
    assert scales(write(tmp_path / "x.safetensors", metadata={"lora_alpha": value})) == {0.5}


@pytest.mark.parametrize("tool", STATED)
@pytest.mark.parametrize("dialect", ["comfyui", "diffusers", "kohya", "peft"])
def test_a_scale_that_metadata_stated_is_not_stated_twice_when_it_is_written(
    tool: str, dialect: str, tmp_path: Path
) -> None:
    weights = read_lora(write(tmp_path / "x.safetensors", metadata=STATED[tool]), spec=POCKET)
    back = read_lora(write_lora(weights, tmp_path / "out" / "adapter_model.safetensors", dialect=dialect), spec=POCKET)
    for target, delta in weights.deltas.items():
        torch.testing.assert_close(back.deltas[target].dense(), delta.dense())


def test_kohyas_metadata_counts_for_kohyas_names(tmp_path: Path) -> None:
    metadata = {"ss_network_alpha": "1.0", "ss_network_dim": str(RANK)}
    assert scales(write(tmp_path / "x.safetensors", KOHYA_NAMES, metadata)) == {0.25}


def test_kohyas_metadata_with_rs_lora(tmp_path: Path) -> None:
    metadata = {"ss_network_alpha": "1", "ss_network_args": json.dumps({"algo": "lora", "rs_lora": True})}
    assert scales(write(tmp_path / "x.safetensors", KOHYA_NAMES, metadata)) == {0.5}


def test_kohyas_metadata_counts_for_nothing_where_its_converter_folded_alpha(tmp_path: Path) -> None:
    # musubi-tuner's convert_lora.py multiplies alpha into lora_A and lora_B and keeps the ss_* entries.
    assert scales(write(tmp_path / "x.safetensors", PEFT_NAMES, {"ss_network_alpha": "1"})) == {1.0}


@pytest.mark.parametrize("value", ["None", "0", ""])
def test_no_alpha_in_kohyas_metadata_means_the_rank(value: str, tmp_path: Path) -> None:
    assert scales(write(tmp_path / "x.safetensors", KOHYA_NAMES, {"ss_network_alpha": value})) == {1.0}


def test_patterns_of_alpha_are_matched_as_peft_matches_them(tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=RANK, alpha_pattern={"self_attn.q": 1, "blocks.1.cross_attn.k": 2, "ttn.o": 3})
    deltas = read_lora(write(tmp_path / "x.safetensors"), spec=POCKET).deltas
    assert deltas["blocks.0.self_attn.q"].scale == 0.25
    assert deltas["blocks.1.cross_attn.k"].scale == 0.5
    assert deltas["blocks.0.self_attn.o"].scale == 1.0


def notes(weights: LoraWeights) -> str:
    return " ".join(weights.notes)


def test_a_configuration_that_may_be_another_files_is_passed_over_and_noted(tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=2)
    write(tmp_path / "other.safetensors")
    weights = read_lora(write(tmp_path / "x.safetensors"), spec=POCKET)
    assert {delta.scale for delta in weights.deltas.values()} == {1.0}
    assert notes(weights) == "adapter_config.json beside it was passed over: it may belong to other.safetensors"


def test_a_configuration_of_another_rank_is_passed_over_and_noted(tmp_path: Path) -> None:
    config(tmp_path, r=16, lora_alpha=2)
    weights = read_lora(write(tmp_path / "x.safetensors"), spec=POCKET)
    assert {delta.scale for delta in weights.deltas.values()} == {1.0}
    assert notes(weights) == "adapter_config.json beside it was passed over: its rank 16 is not that of the tensors"


def test_a_configuration_may_belong_to_a_pair_and_to_pefts_own_file_name(tmp_path: Path) -> None:
    config(tmp_path, r=RANK, lora_alpha=2)
    paths = [write(tmp_path / f"style_{expert}_noise.safetensors") for expert in ("high", "low")]
    assert [scales(path) for path in paths] == [{0.5}, {0.5}]
    assert scales(write(tmp_path / "adapter_model.safetensors")) == {0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not readable: Expecting property name"),
        ("[1]", r"it is not a table \(PEFT's configuration\)"),
        ('{"r": 4, "lora_alpha": "much"}', r"adapter_config.json states the scale 'much' \(a finite number"),
        ('{"r": 4, "lora_alpha": 0}', "states the scale 0"),
        ('{"r": 4, "lora_alpha": Infinity}', "states the scale inf"),
        ('{"r": 4, "alpha_pattern": 3}', "a pattern in adapter_config.json is no table: 3"),
        ('{"r": 4, "alpha_pattern": {"(": 3}}', r"the pattern '\(' in adapter_config.json is malformed"),
    ],
)
def test_a_broken_configuration_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(LoraFileError, match=message) as caught:
        read_lora(write(tmp_path / "x.safetensors"), spec=POCKET)
    assert str(caught.value).startswith(str(tmp_path / "adapter_config.json"))


def test_broken_metadata_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", metadata={"lora_adapter_metadata": "{"})
    with pytest.raises(LoraFileError, match="metadata 'lora_adapter_metadata' is not readable"):
        read_lora(path, spec=POCKET)
    path = write(tmp_path / "x.safetensors", metadata={"lora_config": "[]"})
    with pytest.raises(LoraFileError, match="metadata 'lora_config' is not a table"):
        read_lora(path, spec=POCKET)
    path = write(tmp_path / "x.safetensors", metadata={"r": "4", "lora_alpha": "much"})
    with pytest.raises(LoraFileError, match=r"metadata lora_alpha states the scale 'much' \(a finite number"):
        read_lora(path, spec=POCKET)
    path = write(tmp_path / "x.safetensors", KOHYA_NAMES, {"ss_network_alpha": "inf"})
    with pytest.raises(LoraFileError, match="metadata ss_network_alpha states the scale 'inf'"):
        read_lora(path, spec=POCKET)


def test_the_rank_of_a_full_lokr_comes_from_the_configuration(tmp_path: Path) -> None:
    config(tmp_path, peft_type="LOKR", r=64, alpha=16)
    tensors = {"base_model.model.blocks.0.ffn.0.lokr_w1": torch.ones(4, 8)}
    tensors["base_model.model.blocks.0.ffn.0.lokr_w2"] = torch.ones(128, 16)
    weights = read_lora(save(tmp_path / "x.safetensors", tensors), spec=POCKET)
    assert weights.deltas["blocks.0.ffn.0"].scale == 0.25
    assert math.isclose(float(weights.deltas["blocks.0.ffn.0"].dense().mean()), 0.25)
