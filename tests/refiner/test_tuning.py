"""Language models are tuned by all three methods, learn the answers and their ends, and go on bit for bit.

All that imports TRL's trainer, which takes seconds, stands in this file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from full_disk import files_of_at_most
from language_models import make_language_model
from safetensors.torch import load_file, save_file

from lora_core.checkpoints.meter import MemoryMeter
from lora_core.cli.main import cli
from lora_core.errors import LoraCoreError, ModelError, OutputError, TrainingError
from lora_core.refiner.card import read_card
from lora_core.refiner.opening import open_language_model
from lora_core.refiner.sources import find_language_source
from lora_core.refiner.tuning import extra
from lora_core.refiner.tuning.config import TuneConfig
from lora_core.refiner.tuning.held_out import held_out_loss
from lora_core.refiner.tuning.lessons import lessons_of
from lora_core.refiner.tuning.listener import TuneListener, TuneStep
from lora_core.refiner.tuning.log import TuneRow
from lora_core.refiner.tuning.memory import memory_plan
from lora_core.refiner.tuning.network import open_learner
from lora_core.refiner.tuning.tune import tune
from lora_core.training.guard import DivergedError
from lora_core.training.log import read_row_log

pytest.importorskip("trl")

METHODS = ("full", "lora", "qlora")
WORDS = {"crimson": "red", "azure": "blue", "lime": "green"}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # such small networks only wait for each other's threads
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TuneConfig:
    folder = tmp_path_factory.mktemp("tuning")
    make_language_model(folder / "lm")
    rows = [{"prompt": f"{word} ball", "completion": f"a {colour} circle"} for word, colour in WORDS.items()]
    write_rows(folder / "rows.jsonl", rows)
    held_out = [{"prompt": f"{word} orb", "completion": f"a {colour} circle"} for word, colour in WORDS.items()]
    return TuneConfig(
        rows=str(folder / "rows.jsonl"),
        held_out_rows=str(write_rows(folder / "held_out.jsonl", held_out)),
        model=str(folder / "lm"),
        steps=6,
        batch_size=3,
        max_length=128,
        lr=1e-2,
        checkpoint_every=2,
        validate_every=3,
    )


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def without_checkpoints(config: TuneConfig, **settings: object) -> TuneConfig:
    return replace(config, checkpoint_every=0, held_out_rows="", validate_every=0, **settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_tuning_that_is_gone_on_with_leads_to_the_same_weights_and_log(
    config: TuneConfig, tmp_path: Path, method: str
) -> None:
    config = replace(config, method=method, dropout=0.0 if method == "full" else 0.1)
    whole = tune(config, tmp_path / "whole")
    half = tune(config, tmp_path / "half", stop_after=3)
    assert (half.steps, half.refiner) == (3, None)
    assert "step 3" in half.stopped
    tune(config, tmp_path / "half", resume=True)

    assert whole.refiner is not None
    file = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    one, other = (load_file(tmp_path / name / "refiner" / file) for name in ("whole", "half"))
    assert {weight.dtype for weight in one.values()} == {torch.float32}
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (learnt(read_row_log(tmp_path / name, TuneRow)) for name in ("whole", "half"))
    assert first == second
    assert [row[0] for row in first] == list(range(7))
    assert whole.held_out is not None
    assert whole.held_out[1] < whole.held_out[0]
    assert [row[4] is not None for row in first] == [True, False, False, True, False, False, True]
    assert {path.name for path in (tmp_path / "half").iterdir()} >= {"loss.png", "log.csv", "result.json"}
    card = read_card(whole.refiner)
    assert (card.method, card.base, card.num_steps, card.num_rows) == (method, config.model, 6, 3)
    with pytest.raises(TrainingError, match=r"6 steps are done already\. Raise steps, or start anew"):
        tune(config, tmp_path / "half", resume=True)

    shutil.rmtree(tmp_path / "half" / "refiner")  # as a disk that was full at the very end leaves it
    tune(config, tmp_path / "half", resume=True)
    again = load_file(tmp_path / "half" / "refiner" / file)
    assert all(torch.equal(one[name], again[name]) for name in one)


def learnt(rows: tuple[TuneRow, ...]) -> list[tuple[object, ...]]:
    """Return what a log says of learning, and not of what it took."""
    return [(row.step, row.loss, row.learning_rate, row.gradient_norm, row.held_out) for row in rows]


def test_what_is_learnt_is_answered_and_ended(config: TuneConfig, tmp_path: Path) -> None:
    tuned = tune(replace(config, method="full", steps=60, lr=5e-3, checkpoint_every=0), tmp_path / "out")
    assert tuned.ended == 1.0
    model = open_language_model(tmp_path / "out")
    answer = model.answer("azure ball", max_tokens=40)
    assert (answer.text, answer.is_ended) == ("a blue circle", True)


def test_an_adapter_answers_the_same_once_it_is_merged(config: TuneConfig, tmp_path: Path) -> None:
    tune(without_checkpoints(config, steps=4, targets=("q_proj", "up_proj")), tmp_path / "out")
    model = open_language_model(tmp_path / "out")
    tokens = torch.tensor([[1, 70, 71, 72, 3]])
    with torch.inference_mode():
        apart = model.network(tokens).logits
        together = model.network.merge_and_unload()(tokens).logits
        bare = open_language_model(config.model).network(tokens).logits
    assert torch.allclose(apart, together, atol=1e-5)
    assert not torch.allclose(apart, bare, atol=1e-3)


def test_lora_and_qlora_begin_with_the_same_adapter_in_float32(config: TuneConfig, tmp_path: Path) -> None:
    from transformers import TrainerCallback

    from lora_core.refiner.tuning.trainer import TuneTrainer, trainer_settings

    weights = []
    for method in ("lora", "qlora"):
        own = replace(config, method=method)
        source = find_language_source(own.model)
        lessons = lessons_of(own, source)
        learner = open_learner(own, source, lessons.maker, CPU)
        settings = trainer_settings(own, tmp_path)
        TuneTrainer(learner, settings, lessons.examples, lessons.order, TrainerCallback(), tmp_path, 1)
        weights.append({name: weight.detach().clone() for name, weight in learner.weights().items()})
    one, other = weights
    assert {weight.dtype for weight in one.values()} | {weight.dtype for weight in other.values()} == {torch.float32}
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_packed_base_still_passes_gradients_on_once_it_was_measured(config: TuneConfig) -> None:
    own = replace(config, method="qlora")
    source = find_language_source(own.model)
    lessons = lessons_of(own, source)
    learner = open_learner(own, source, lessons.maker, CPU)
    tokens = torch.tensor([lessons.examples[0].input_ids])

    def gradients() -> list[torch.Tensor]:
        learner.network.train()
        learner.network.zero_grad()
        learner.network(input_ids=tokens, labels=tokens).loss.backward()
        return [weight.grad.clone() for weight in learner.weights().values()]

    before = gradients()
    held_out_loss(learner.network, lessons.held_out, 3)
    assert all(torch.equal(one, other) for one, other in zip(before, gradients(), strict=True))
    assert sum(bool(gradient.any()) for gradient in before) == len(before) // 2  # of each pair the one that begins as 0


def test_a_base_in_half_the_bits_is_written_so_again(config: TuneConfig, tmp_path: Path) -> None:
    folder = make_language_model(tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    save_file({n: w.half() for n, w in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | {"dtype": "float16"}))
    tune(without_checkpoints(config, method="full", model=str(folder), steps=1), tmp_path / "out")
    assert {w.dtype for w in load_file(tmp_path / "out" / "refiner" / "model.safetensors").values()} == {torch.float16}


def test_an_end_that_is_asked_for_leaves_a_checkpoint_to_go_on_from(config: TuneConfig, tmp_path: Path) -> None:
    asked = iter([False, True])
    tuned = tune(replace(config, checkpoint_every=0), tmp_path / "out", should_stop=lambda: next(asked))
    assert (tuned.steps, tuned.stopped) == (2, "somebody has asked for an end")
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-000002"]
    with pytest.raises(TrainingError, match=r"other settings: lr 0\.01 there, 0\.5 here"):
        tune(replace(config, lr=0.5), tmp_path / "out", resume=True)
    with pytest.raises(TrainingError, match=r"2 steps are done already\. Raise stop_after"):
        tune(config, tmp_path / "out", resume=True, stop_after=2)
    rows = Path(config.rows).read_text()
    other = write_rows(tmp_path / "rows.jsonl", [{"prompt": "other", "completion": "rows"}])
    Path(config.rows).write_text(other.read_text())
    try:
        with pytest.raises(TrainingError, match=r"what the training here began with has changed: rows\. Put it back"):
            tune(config, tmp_path / "out", resume=True)
    finally:
        Path(config.rows).write_text(rows)


def test_a_full_disk_is_one_error_and_leaves_the_last_checkpoint(config: TuneConfig, tmp_path: Path) -> None:
    config, out = replace(config, method="full"), tmp_path / "out"
    tune(config, out, stop_after=2)
    before = sorted(path.name for path in out.rglob("*"))
    with files_of_at_most(500_000), pytest.raises(OutputError, match=r"step-000004: cannot be written: .* Free space"):
        tune(config, out, resume=True)
    left = {path.name for path in out.rglob("*")} - set(before)
    assert left == set()
    assert tune(config, out, resume=True).steps == 6


def test_a_loss_that_is_no_number_ends_it_with_a_remedy(config: TuneConfig, tmp_path: Path) -> None:
    wild = replace(config, method="full", lr=1e30, max_grad_norm=0.0, optimizer="sgd")
    with pytest.raises(DivergedError, match=r"step \d: the loss is .* nan long\. Lower lr and go on from the start"):
        tune(wild, tmp_path / "out")
    assert not (tmp_path / "out" / "refiner").exists()


class Heard(TuneListener):
    def __init__(self) -> None:
        self.steps: list[TuneStep] = []
        self.notes: list[str] = []

    def step(self, step: TuneStep) -> None:
        self.steps.append(step)

    def note(self, text: str) -> None:
        self.notes.append(str(text))


def test_a_model_that_does_not_end_its_answers_is_warned_of(config: TuneConfig, tmp_path: Path) -> None:
    heard = Heard()
    tuned = tune(without_checkpoints(config, lr=1e-9, steps=21), tmp_path / "out", listener=heard)
    assert tuned.ended == 0.0
    assert [note for note in heard.notes if "warning" in note] == [
        "warning: after 20 steps it does not end an answer yet",
        "warning: it does not end its answers; train it longer, or look at its chat template",
    ]
    assert tuned.notes == tuple(heard.notes)
    assert [step.step for step in heard.steps] == list(range(1, 22))
    assert heard.steps[-1].tokens_per_second > 0


def test_what_is_known_already_is_mixed_in(config: TuneConfig, tmp_path: Path) -> None:
    known = write_rows(tmp_path / "known.jsonl", [{"prompt": "old", "completion": "known"}])
    config = replace(config, rehearsal_rows=str(known), rehearsal_share=1 / 3)
    lessons = lessons_of(config, find_language_source(config.model))
    assert [lessons.order[start : start + 3].count(3) for start in range(0, 18, 3)] == [1] * 6
    assert tune(config, tmp_path / "out").num_tokens == sum(map(lessons.num_tokens, range(1, 7)))


@pytest.mark.parametrize("method", METHODS)
def test_the_memory_of_a_step_is_as_it_was_planned(config: TuneConfig, tmp_path: Path, method: str) -> None:
    from transformers import TrainerCallback

    from lora_core.refiner.tuning.trainer import TuneTrainer, trainer_settings

    own = without_checkpoints(config, method=method, steps=1, batch_size=8)
    source = find_language_source(own.model)
    lessons = lessons_of(own, source)
    plan = memory_plan(own, source, lessons, CPU)
    assert plan.chosen is not None
    assert plan.chosen.name == method
    predicted = next(prediction for other, prediction in plan.predictions if other.name == method)
    weights = sum(predicted.parts[name].system for name in ("frozen weights", "learning weights"))
    learner = open_learner(own, source, lessons.maker, CPU)
    storages = {w.untyped_storage()._cdata: w.untyped_storage().nbytes() for w in learner.network.parameters()}
    assert weights == pytest.approx(sum(storages.values()), rel=0.01)
    trainer = TuneTrainer(
        learner, trainer_settings(own, tmp_path), lessons.examples, lessons.order, TrainerCallback(), tmp_path, 1
    )
    with MemoryMeter() as meter:
        trainer.train()
    assert meter.peak == pytest.approx(predicted.system - weights, rel=0.15)


@pytest.mark.parametrize(("method", "package"), [("lora", "trl"), ("lora", "peft"), ("qlora", "bitsandbytes")])
def test_a_package_that_is_missing_is_named_with_the_extra(
    config: TuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, package: str
) -> None:
    found = extra.find_spec
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(TrainingError, match=rf'needs {package}, not there\. Run `pip install "wanloom\[refine\]"`'):
        tune(replace(config, method=method), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_be_tuned_are_refused(config: TuneConfig, tmp_path: Path) -> None:
    def refused(model: Path | str, kind: type[LoraCoreError], told: str, **settings: object) -> None:
        with pytest.raises(kind, match=told):
            tune(replace(config, model=str(model), **settings), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps({"architectures": ["T5EncoderModel"]}))
    refused(encoder, ModelError, "it holds T5EncoderModel, which does not go on with a text")
    adapter = tmp_path / "adapter"
    tune(without_checkpoints(config, steps=1), adapter)
    refused(adapter, ModelError, "is an adapter, on which no other is learnt")
    bare = make_language_model(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    refused(bare, ModelError, "its tokenizer has no chat template")
    refused(config.model, TrainingError, "1,000 tokens, and the model has 256 places", max_length=1000)
    refused(config.model, TrainingError, r"targets: no adapter fits these layers: .* \(all-linear\)", targets=("nose",))


def test_on_the_command_line_it_is_planned_trained_and_gone_on_with(config: TuneConfig, tmp_path: Path) -> None:
    file, out = tmp_path / "config.toml", tmp_path / "out"
    file.write_text(config.to_toml())

    def run(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["--quiet", "refine", *map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, (SystemExit, LoraCoreError)), done.exception
        return done.exit_code, done.stdout or str(done.exception)

    code, told = run("train", "--rows", file, "-o", out)
    assert (code, out.exists()) == (1, False)
    assert "Correct these rows" in told
    code, told = run("train", file, "-o", out, "--plan")
    assert (code, out.exists()) == (0, False)
    assert "lora *" in told
    assert run("train", file, "-o", out, "--stop-after", 2)[1].splitlines()[1].endswith(f"-o {out} --resume")
    code, told = run("train", "-o", out, "--resume", "--progress", "json")
    events = [json.loads(line) for line in told.splitlines()]
    assert [event["step"] for event in events if event["event"] == "step"] == [3, 4, 5, 6]
    assert events[-1]["event"] == "done"
    assert Path(events[-1]["refiner"]) == out / "refiner"
    code, told = run("train", file, "--rows", "other.jsonl", "--set", "rows=this.jsonl", "-o", tmp_path / "other")
    assert (code, told) == (1, "--rows: --set rows is given too. Leave one out.")
    code, told = run("rows", config.rows, "--held-out", config.held_out_rows, "--model", config.model)
    assert code == 0
    assert "rows.jsonl: 3 rows" in told
    code, told = run("rows", config.rows, "--model", config.model, "--max-length", 5, "--report", "-")
    assert code == 1
    assert '"kind": "too-long"' in told
