"""A language model as the refiner: asked once for a prompt, out of memory behind it, kept on disk if there is room."""

from __future__ import annotations

import json
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
from full_disk import files_of_at_most
from language_models import make_language_model

from lora_core.errors import ModelError, RequestError
from lora_core.refiner import answers, local
from lora_core.refiner.answers import Question, answers_file, keep_answer, kept_answer
from lora_core.refiner.card import RefinerCard
from lora_core.refiner.language_model import Answer, LanguageModel
from lora_core.refiner.local import LocalRefiner
from lora_core.refiner.refine import held_open, refine

REQUEST = "crimson ball rising over zebra lines"
CAPTION = "a red circle moves up on a striped background"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_model(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Any]]:
    """Return a list that every opened network is put into, without being held by it."""
    networks: list[weakref.ref[Any]] = []

    def open_it(*args: Any, **settings: Any) -> LanguageModel:
        model = opening(*args, **settings)
        networks.append(weakref.ref(model.network))
        return model

    opening = local.open_language_model
    monkeypatch.setattr(local, "open_language_model", open_it)
    return networks


def test_the_embedded_model_writes_a_caption_and_leaves_the_memory(opened: list[weakref.ref[Any]]) -> None:
    told = refine(REQUEST, LocalRefiner())
    assert (told.given, told.prompt, told.fault) == (REQUEST, CAPTION, "")
    assert told.by == f"pocket-lm {told.digest.removeprefix('full-')[:12]}"
    assert told.row()["digest"] == told.digest
    assert [network() for network in opened] == [None]


def test_a_prompt_is_asked_for_once(opened: list[weakref.ref[Any]]) -> None:
    first = refine(REQUEST, LocalRefiner())
    again = refine(REQUEST, LocalRefiner())
    assert (again.prompt, len(opened)) == (first.prompt, 1)
    assert refine(REQUEST, LocalRefiner(is_cached=False)).prompt == first.prompt
    assert refine(REQUEST, LocalRefiner(max_tokens=100)).prompt == first.prompt
    assert len(opened) == 3


def test_several_prompts_take_one_opening(opened: list[weakref.ref[Any]]) -> None:
    refiner = LocalRefiner(is_cached=False)
    with held_open(refiner):
        assert opened == []
        for prompt in (REQUEST, "a zibbo goes left"):
            assert refine(prompt, refiner, protected=("zibbo",)).fault == ""
        assert opened[0]() is not None
    assert [network() for network in opened] == [None]


def test_an_answer_that_never_ends_does_not_count_and_is_not_waited_for_again(folder: Path, opened: list) -> None:
    for _ in range(2):
        told = refine("a cat", LocalRefiner(folder, instructions="", max_tokens=5))
        assert (told.prompt, told.fault) == ("a cat", "it did not come to an end within 5 tokens")
    assert len(opened) == 1
    assert opened[0]() is None


def test_a_prompt_that_leaves_no_room_is_used_as_it_was() -> None:
    told = refine("up " * 2000, LocalRefiner())
    assert told.prompt == "up " * 2000
    assert told.fault.startswith("pocket-lm: the request has ")


def test_a_damaged_cache_counts_as_none() -> None:
    question = Question("digest", "", "a cat", 1)
    for damaged in ("", "{", "[]", "\0" * 9, json.dumps({question.key: 3}), json.dumps({question.key: ["x", 1, True]})):
        answers_file().parent.mkdir(parents=True, exist_ok=True)
        answers_file().write_text(damaged)
        assert kept_answer(question) is None
        keep_answer(question, Answer("a tabby", True, 2))
        assert kept_answer(question) == Answer("a tabby", True, 2)


def test_a_cache_on_a_full_disk_costs_no_answer(opened: list[weakref.ref[Any]]) -> None:
    refiner = LocalRefiner()
    with files_of_at_most(10):
        assert refine(REQUEST, refiner).prompt == CAPTION
        assert not answers_file().exists()
        assert refine(REQUEST, refiner).prompt == CAPTION  # remembered by the refiner itself
    assert len(opened) == 1


def test_the_cache_is_bounded_and_keeps_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_MAX_ROWS", 5)
    for number in range(6):
        keep_answer(Question("digest", "", f"request {number}", 1), Answer(f"answer {number}", True, 2))
    assert kept_answer(Question("digest", "", "request 0", 1)) is None
    assert kept_answer(Question("digest", "", "request 5", 1)) == Answer("answer 5", True, 2)
    assert "request" not in answers_file().read_text()


def test_a_model_is_told_how_to_write_unless_it_was_trained_to(folder: Path, tmp_path: Path) -> None:
    assert LocalRefiner(folder).told.name == "wan-t2v"
    assert LocalRefiner(folder).writing_as("cosmos").told.name == "cosmos"
    assert LocalRefiner(folder, instructions="pocket").writing_as("cosmos").told.name == "pocket"
    assert LocalRefiner(folder).protecting(["zibbo"]).system.endswith("zibbo")
    trained = make_language_model(tmp_path / "trained")
    RefinerCard(method="full", instructions="Write more.", language="en").write(trained)
    refiner = LocalRefiner(trained).writing_as("cosmos").protecting(["zibbo"])
    assert refiner.system == "Write more."
    assert refiner.language_for("ein Kreis auf der Wiese") == "en"
    assert LocalRefiner().writing_as("cosmos").system == ""


def test_it_goes_to_other_processes_without_its_model() -> None:
    refiner = LocalRefiner()
    with refiner:
        refiner(REQUEST)
        assert refiner.desk.model is not None
        assert pickle.loads(pickle.dumps(refiner)).desk.model is None
    assert pickle.loads(pickle.dumps(refiner)) == refiner


def test_what_is_not_there_is_an_error_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        LocalRefiner(tmp_path / "none")
    with pytest.raises(RequestError, match="there are no instructions 'x'"):
        LocalRefiner(instructions="x")
    with pytest.raises(RequestError, match="refiner max_tokens: 0 is out of range"):
        LocalRefiner(max_tokens=0)


def test_an_adapter_on_another_base_leaves_the_prompt_as_it_was(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    RefinerCard(method="lora", base="other", base_digest="0" * 64).write(tmp_path)
    told = refine("a cat", LocalRefiner(folder, tmp_path))
    assert told.prompt == "a cat"
    assert told.fault.endswith("it is an adapter on another model, other")
