"""Post-trained checkpoints: of a base with a LoRA inside the LoRA is read, under any trainer's names, nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nvidia_files import RANK, TARGETS, TINY, base_tensors, lora_pairs, save_checkpoint, wrapped
from safetensors.torch import save_file

from lora_core.errors import LoraFileError, LoraMismatchError, ModelError
from lora_core.families.cosmos.names import module_to_diffusers
from lora_core.families.cosmos.spec import cosmos_spec, infer_cosmos_spec
from lora_core.families.registry import opener
from lora_core.families.wan.spec import wan_spec
from lora_core.files.containers.tensorfile import TensorFile, TensorInfo
from lora_core.files.parameters import count_parameters
from lora_core.files.post_trained import extract_post_trained
from lora_core.files.read import assembled_file, read_lora
from lora_core.files.report import inspect_lora
from lora_core.files.stated import StatedLora
from lora_core.files.weights import LoraWeights
from lora_core.files.write import write_lora

SPEC = infer_cosmos_spec({name: tuple(tensor.shape) for name, tensor in base_tensors().items()})
NAME = "iter_000002000.pt"


def assert_same(weights: LoraWeights, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]], scale: float = 1.0) -> None:
    assert set(weights.deltas) == set(pairs)
    for target, (down, up) in pairs.items():
        torch.testing.assert_close(weights.deltas[target].dense(), scale * (up @ down), rtol=1e-5, atol=1e-5)


def spelled(dialect: str) -> dict[str, torch.Tensor]:
    """Return the LoRA alone, as a trainer names it."""
    rows = {
        "nvidia": ("net.", str, "lora_{}.default.weight"),
        "diffusion-pipe": ("diffusion_model.", str, "lora_{}.weight"),
        "diffusers": ("transformer.", module_to_diffusers, "lora_{}.weight"),
        "diffusers, bare": ("", module_to_diffusers, "lora_{}.weight"),
        "peft": ("base_model.model.", module_to_diffusers, "lora_{}.weight"),
        "kohya": ("lora_unet_", lambda path: path.replace(".", "_"), "lora_{}.weight"),
    }
    prefix, spell, leaf = rows[dialect]
    return {
        f"{prefix}{spell(target)}.{leaf.format(letter)}": tensor
        for target, pair in lora_pairs().items()
        for letter, tensor in zip("AB", pair, strict=True)
    }


@pytest.mark.parametrize("dialect", ["nvidia", "diffusion-pipe", "diffusers", "diffusers, bare", "peft", "kohya"])
@pytest.mark.parametrize("spec", [SPEC, None])
def test_every_dialect_of_cosmos_reads_to_the_same_weights(dialect: str, spec, tmp_path: Path) -> None:
    save_file(spelled(dialect), tmp_path / "x.safetensors")
    assert_same(read_lora(tmp_path / "x.safetensors", spec=spec), lora_pairs())


def test_of_a_post_trained_checkpoint_the_lora_is_read_and_the_base_counted(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / NAME)
    for spec in (SPEC, None):
        weights = read_lora(path, spec=spec)
        assert_same(weights, lora_pairs())
        assert weights.dialect == "nvidia"
        reasons = {reason: count for _, reason, count, _ in weights.account.reasons()}
        assert reasons == {
            "base weights: not read": len(base_tensors()) + 1,  # and a table that is computed
            "is what a library for fp8 keeps of its own (Transformer Engine)": TINY.num_blocks,
        }


def test_of_a_file_with_both_the_weights_themselves_are_read_unless_the_average_is_asked_for(tmp_path: Path) -> None:
    trained, averaged = lora_pairs(seed=1), lora_pairs(seed=2)
    path = save_checkpoint(tmp_path / NAME, trained, averaged)
    weights = read_lora(path, spec=SPEC)
    assert_same(weights, trained)
    left = next(record for record in weights.account if record.name.startswith("net_ema.") and "lora_A" in record.name)
    assert (left.status, left.reason) == (
        "not_applicable",
        "the moving average (EMA) of weights that are taken themselves",
    )
    assert_same(read_lora(path, spec=SPEC, average=True), averaged)


def test_an_average_alone_is_read_and_noted_and_one_that_is_not_there_refused(tmp_path: Path) -> None:
    torch.save(wrapped(base_tensors(), lora_pairs(), "net_ema."), tmp_path / "ema.pt")
    weights = read_lora(tmp_path / "ema.pt", spec=SPEC)
    assert_same(weights, lora_pairs())
    assert "it holds the moving average (EMA) of a LoRA alone, which is taken" in weights.notes
    path = save_checkpoint(tmp_path / NAME)
    with pytest.raises(LoraFileError) as caught:
        read_lora(path, average=True)
    assert str(caught.value) == (
        f"{path}: it holds no moving average (EMA) of its LoRA (names such as net_ema.blocks.0.…). "
        "Take the weights themselves, without EMA."
    )


def test_what_transformer_engine_keeps_as_bytes_is_passed_over_and_code_is_not(tmp_path: Path) -> None:
    state = wrapped(base_tensors(), lora_pairs())
    torch.save(state | {"net.blocks.0.self_attn.q_norm._extra_state": io.BytesIO(b"fp8")}, tmp_path / "te.pt")
    assert_same(read_lora(tmp_path / "te.pt", spec=SPEC), lora_pairs())
    torch.save(state | {"net.blocks.0.self_attn.q_norm._extra_state": os.system}, tmp_path / "code.pt")
    with pytest.raises(LoraFileError) as caught:
        read_lora(tmp_path / "code.pt", spec=SPEC)
    assert str(caught.value) == (
        f"{tmp_path / 'code.pt'}: its pickle holds code, not only tensors: it calls posix.system "
        "(tensors, numbers and texts). Do not load it elsewhere; get the LoRA as .safetensors."
    )


@pytest.mark.parametrize("place", ["iter_000002000", "iter_000002000/model", "iter_000002000/model/__0_0.distcp"])
def test_of_a_distributed_checkpoint_is_said_what_to_run_first(place: str, tmp_path: Path) -> None:
    from lora_core.checkpoints.checkpoint import open_checkpoint

    (tmp_path / "iter_000002000" / "model").mkdir(parents=True)
    (tmp_path / "iter_000002000" / "model" / "__0_0.distcp").write_bytes(b"pieces")
    path = tmp_path / place
    for opened, error in ((read_lora, LoraFileError), (open_checkpoint, ModelError), (_opened, ModelError)):
        with pytest.raises(error) as caught:
            opened(path)
        assert str(caught.value) == (
            f"{path}: it is a distributed checkpoint, whose tensors lie in pieces in its .distcp files "
            "(one file, .pt or .safetensors). Put them together first with NVIDIA's scripts/convert_distcp.py (it "
            "keeps the moving average, EMA, alone), and give the .pt that it writes."
        )


def _opened(path: Path) -> object:
    return opener(path)(path)


# ---- whose LoRA it is


def test_a_lora_of_another_size_or_family_is_named_both_ways(tmp_path: Path) -> None:
    two = cosmos_spec("cosmos-predict2-2b-video2world")
    fourteen = cosmos_spec("cosmos-predict2-14b-video2world")
    save_file(
        {
            "diffusion_model.blocks.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 2048),
            "diffusion_model.blocks.0.self_attn.q_proj.lora_B.weight": torch.ones(2048, 2),
        },
        tmp_path / "2b.safetensors",
    )
    save_file(
        {
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.ones(2, 1536),
            "diffusion_model.blocks.0.self_attn.q.lora_B.weight": torch.ones(1536, 2),
        },
        tmp_path / "wan.safetensors",
    )
    assert read_lora(tmp_path / "2b.safetensors", spec=two).base == two.name
    told = {
        ("2b", fourteen): "this is a Cosmos Predict2 2B LoRA (width 2048) and the model is Cosmos Predict2 14B "
        "Video2World (width 5120)",
        ("2b", wan_spec("wan2.1-t2v-1.3b")): "it looks like a LoRA for Cosmos; none of its 2 tensors applies to Wan",
        ("wan", two): "it looks like a LoRA for Wan; none of its 2 tensors applies to Cosmos Predict2 2B Video2World",
    }
    for (name, spec), text in told.items():
        with pytest.raises(LoraMismatchError) as caught:
            read_lora(tmp_path / f"{name}.safetensors", spec=spec)
        assert str(caught.value).startswith(f"{tmp_path / name}.safetensors: {text}")
        assert spec.title in caught.value.remedy
    with pytest.raises(LoraMismatchError, match=r"it looks like a LoRA for Cosmos; none of its"):
        read_lora(save_checkpoint(tmp_path / NAME, average=lora_pairs()), spec=wan_spec("wan2.1-t2v-1.3b"))


# ---- the count


def shaped(size: str, rank: int, copies: tuple[str, ...] = ("net.",)) -> TensorFile:
    """Return NVIDIA's file of a published size, of which there are shapes and no values."""
    shapes, infos = cosmos_spec(size).shapes, {}
    for prefix in copies:
        for path, shape in shapes.items():
            is_target = any(f".{path}".endswith(f".{target}") for target in TARGETS)
            inner = ".base_layer" if is_target else ""
            infos[f"{prefix}{path}{inner}.weight"] = TensorInfo(shape, torch.bfloat16)
            if is_target:
                infos[f"{prefix}{path}.lora_A.default.weight"] = TensorInfo((rank, shape[1]), torch.float32)
                infos[f"{prefix}{path}.lora_B.default.weight"] = TensorInfo((shape[0], rank), torch.float32)

    def read(name: str) -> torch.Tensor:
        raise AssertionError(f"{name} was read")

    return TensorFile(Path(NAME), infos, {}, 0, read, lambda names: dict.fromkeys(names, 1.0))


@pytest.mark.parametrize("copies", [("net.",), ("net.", "net_ema.")])
def test_the_parameters_of_the_published_lora_are_counted_once(copies: tuple[str, ...]) -> None:
    name = "cosmos-predict2-2b-video2world"
    counts = count_parameters(assembled_file(shaped(name, 16, copies), None))
    assert counts.lora == 22_937_600  # 28 blocks of 819,200; NVIDIA's log counts the average too, 45,875,200
    assert counts.modules["self_attn.q_proj"] == 28 * 16 * (2048 + 2048)
    assert counts.modules["cross_attn.k_proj"] == 28 * 16 * (2048 + 1024)
    assert sum(counts.modules.values()) == counts.lora
    own = sum(torch.Size(shape).numel() for shape in cosmos_spec(name).shapes.values())
    assert counts.model == own
    assert counts.total == own + 22_937_600
    assert counts.share == pytest.approx(0.0116, abs=1e-4)
    assert counts.summary() == f"22,937,600 in the LoRA, 1.16 % of {own + 22_937_600:,} with the model's own"


def test_inspect_counts_them_against_the_model_it_was_given_or_that_the_file_tells(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / NAME, average=lora_pairs(seed=2))
    size = sum(tensor.numel() for tensor in base_tensors().values())
    num = sum(down.numel() + up.numel() for down, up in lora_pairs().values())
    for spec in (SPEC, None):
        report = inspect_lora(path, spec=spec)
        assert (report.parameters.lora, report.parameters.model) == (num, size)
        line = next(line for line in report.text().splitlines() if line.startswith("parameters"))
        start = (
            f"parameters     {num:,} in the LoRA, 12.3 % of {num + size:,} with the model's own: self_attn.q_proj 512, "
        )
        assert line.startswith(start)
        assert "nobody says its alpha: the rank is taken" in report.notes
        assert report.to_dict()["parameters"]["total"] == num + size
    save_file(spelled("diffusion-pipe"), tmp_path / "alone.safetensors")
    assert inspect_lora(tmp_path / "alone.safetensors").parameters.model is None


# ---- the extraction


def test_an_extracted_lora_equals_the_one_inside_and_tells_where_it_is_from(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / NAME, average=lora_pairs(seed=2))
    done = extract_post_trained(path, stated=StatedLora(alpha=8))
    written = read_lora(write_lora(done.weights, tmp_path / "lora.safetensors"), spec=SPEC)
    assert_same(written, lora_pairs(), scale=8 / RANK)
    told = written.metadata
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == (str(RANK), "8")
    assert told["target_modules"].split(",")[-2:] == ["mlp.layer1", "mlp.layer2"]
    assert told["base_model"] == "cosmos-custom"
    assert (told["extracted_from"], told["num_training_steps"]) == (NAME, "2000")
    assert len(told["extracted_from_sha256"]) == 64
    assert told["extracted_weights"] == "as trained"
    average = extract_post_trained(path, average=True)
    assert_same(average.weights, lora_pairs(seed=2))
    assert average.weights.metadata["extracted_weights"] == "moving average (EMA)"


def test_the_alpha_of_its_job_is_found_beside_the_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "job" / "checkpoints" / "model"
    folder.mkdir(parents=True)
    path = save_checkpoint(folder / NAME)
    config = tmp_path / "job" / "config.yaml"
    config.write_text(f"model:\n  config:\n    lora_alpha: 2\n    lora_rank: {RANK}\n")
    assert_same(read_lora(path, spec=SPEC), lora_pairs(), scale=2 / RANK)
    with pytest.raises(LoraMismatchError, match="its alpha is 2, and alpha 16 was stated"):
        read_lora(path, spec=SPEC, stated=StatedLora(alpha=16))
    config.write_text("model:\n  config:\n    lora_alpha: 2\n    lora_rank: 99\n")  # of another training
    assert_same(read_lora(path, spec=SPEC, stated=StatedLora(alpha=16)), lora_pairs(), scale=16 / RANK)


_MEASURE = """
import resource, sys
from pathlib import Path
from lora_core.files.post_trained import extract_post_trained
from lora_core.files.write import write_lora
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1000
before = peak()
write_lora(extract_post_trained(sys.argv[1]).weights, Path(sys.argv[1]).with_suffix(".safetensors"))
print(peak() - before)
"""


def test_the_base_never_comes_into_memory(tmp_path: Path) -> None:
    state = wrapped(base_tensors(), lora_pairs())
    for block in range(2):
        state[f"net.blocks.{block}.adaln_modulation_mlp.2.weight"] = torch.ones(96, 350_000, dtype=torch.bfloat16)
    torch.save(state, tmp_path / NAME)
    assert (tmp_path / NAME).stat().st_size > 130e6
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / NAME)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert float(done.stdout) < 40  # megabytes, of which most are what torch loads with its first operation
