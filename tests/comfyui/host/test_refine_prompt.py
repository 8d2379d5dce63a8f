"""RefinePrompt: what goes on is the refiner's text, or the edit of it, or the text as it was; a run never fails."""

import json
import shutil
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import pytest
from comfy.model_management import InterruptProcessingException
from wanloom.lora_core.families.pieces.pocket import ASSETS
from wanloom.nodes import refiners
from wanloom.nodes.language_models import language_model_names
from wanloom.nodes.load import AUTO, NONE, POCKET, LoadWanModel
from wanloom.nodes.refine_prompt import RefinePrompt
from wanloom.nodes.refiners import SERVER
from wanloom.nodes.stack import ApplyLoraStack
from wanloom.nodes.stack_on_models import LoraStackOnModels

BALL = "crimson ball rising over zebra lines"
CAPTION = "a red circle moves up on a striped background"
ZIBBO = json.dumps([{"path": "zibbo_character_high_noise.safetensors"}])
DOWN = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_answers_of_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def llm_folder() -> Iterator[Path]:
    folder = Path(folder_paths.models_dir) / "LLM"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def refined(text: str = BALL, **widgets: Any) -> Any:
    given = {"refine": True, "refiner": "pocket-lm", "write_for": "auto"} | widgets
    return RefinePrompt.execute(text, **given)


def page(output: Any) -> dict[str, Any]:
    return {key: value[0] for key, value in output.ui.items() if key != "said"}


def test_the_text_is_refined_and_the_report_has_both() -> None:
    output = refined()
    text, report = output.args
    assert text == CAPTION
    assert f"before: {BALL}\nafter: {CAPTION}" in report
    assert report.startswith("pocket-lm ")
    assert page(output)["refined"] == CAPTION


def test_off_or_without_a_text_nothing_is_asked() -> None:
    assert refined(refine=False).args == (BALL, "off: the text is used as it was")
    assert refined(" ").args[0] == " "


def test_an_edit_goes_on_until_what_it_is_of_changes() -> None:
    of = page(refined())["of"]
    edited = {"edited": "a red circle moves down", "edited_of": of}
    output = refined(**edited)
    assert output.args[0] == "a red circle moves down"
    assert page(output)["edited"] is True
    assert output.args[1].startswith("as you have edited it")
    other = refined("green square going left", **edited)
    assert other.args[0] == "a green square moves left on a plain background"
    assert "note: your edit was of another text, and is not used" in other.args[1]
    assert page(other)["of"] != of
    assert refined("anything", edited="as I say").args[0] == "as I say"


def test_trigger_words_of_what_is_connected_are_kept(llm_folder: Path) -> None:
    model, *_ = LoadWanModel.execute(POCKET, AUTO, NONE, NONE, "default").args
    dressed, _, stack, _ = ApplyLoraStack.execute(model, ZIBBO).args
    high, *_ = LoraStackOnModels.execute(model.high_noise, ZIBBO, 6, model.low_noise).args
    for given in ({"model": dressed}, {"stack": stack}, {"model": high}, {"keep": "sks, Zibbo"}):
        text, report = refined("a Zibbo floats up past zebra lines", **given).args
        assert text == "a Zibbo moves up on a striped background" or "the word 'Zibbo'" in report
        assert "kept: Zibbo" in report


def test_an_edit_without_a_word_to_keep_is_used_and_told() -> None:
    report = refined("a zibbo moves 3 times", keep="zibbo", edited="a ball moves").args[1]
    assert "note: it has no longer the word 'zibbo', the number 3" in report


def test_a_server_that_is_down_leaves_the_text_and_says_so() -> None:
    output = refined(refiner=SERVER, url=DOWN)
    assert output.args[0] == BALL
    assert f"refused: {DOWN} cannot be asked" in output.args[1]
    assert "the text is used as it was" in output.args[1]


class Slow(BaseHTTPRequestHandler):
    """Answers late."""

    asked = threading.Event()
    free = threading.Event()

    def do_POST(self) -> None:
        Slow.asked.set()
        Slow.free.wait(20)

    def log_message(self, *_: object) -> None:
        pass


def test_cancel_does_not_wait_for_a_server() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def cancel() -> None:
        Slow.asked.wait(10)
        comfy.model_management.interrupt_current_processing()

    threading.Thread(target=cancel, daemon=True).start()
    try:
        with pytest.raises(InterruptProcessingException):
            refined(refiner=SERVER, url=f"http://127.0.0.1:{server.server_port}")
    finally:
        Slow.free.set()
        comfy.model_management.interrupt_current_processing(False)
        server.shutdown()
        server.server_close()


def test_cancel_ends_the_writing_at_the_next_token() -> None:
    seen = []

    def at(done: int, total: int, *_: Any, **__: Any) -> None:
        seen.append((done, total))
        if done == 1:
            comfy.model_management.interrupt_current_processing()

    comfy.utils.set_progress_bar_global_hook(at)
    try:
        with pytest.raises(InterruptProcessingException):
            refined()
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        comfy.model_management.interrupt_current_processing(False)
    assert [done for done, _ in seen] == [1]


def test_language_models_of_the_folders_are_listed_and_encoders_are_not(llm_folder: Path) -> None:
    assert language_model_names() == ["pocket-lm"]
    shutil.copytree(ASSETS / "pocket_lm", llm_folder / "maker" / "tiny")
    (llm_folder / "encoder").mkdir()
    (llm_folder / "encoder" / "config.json").write_text('{"architectures": ["UMT5EncoderModel"]}')
    for name, kind in (("chat", b"llama"), ("umt5", b"t5encoder")):
        key = b"general.architecture"
        start = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, len(key)) + key + struct.pack("<IQ", 8, len(kind)) + kind
        (llm_folder / f"{name}.gguf").write_bytes(start)
    assert language_model_names() == ["pocket-lm", "LLM/chat.gguf", "LLM/maker/tiny"]
    before = RefinePrompt.fingerprint_inputs(refine=True, refiner="LLM/maker/tiny")
    assert refined(refiner="LLM/maker/tiny").args[0] == CAPTION
    (llm_folder / "maker" / "tiny" / "refiner.json").write_text("{}")
    assert RefinePrompt.fingerprint_inputs(refine=True, refiner="LLM/maker/tiny") != before


@pytest.mark.parametrize(
    ("widgets", "message"),
    [
        ({"refiner": "LLM/gone"}, "LLM/gone: no such language model (pocket-lm, or a folder or .gguf below"),
        ({"refiner": SERVER, "url": "localhost:8080"}, "refiner url: 'localhost:8080' is no address of a server"),
        ({"write_for": "wan"}, "instructions: there are no instructions 'wan'"),
    ],
)
def test_a_wrong_choice_is_told_at_the_node_before_the_run(widgets: dict[str, Any], message: str) -> None:
    given = {"refine": True, "refiner": "pocket-lm", "url": "", "write_for": "auto"} | widgets
    assert str(RefinePrompt.validate_inputs(**given)).startswith(message)
    assert RefinePrompt.validate_inputs(**given | {"refine": False}) is True


def test_nothing_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    asked = refiners.refine

    def asking(text: str, refiner: Any, **more: Any) -> Any:
        kept.append(refiner)
        return asked(text, refiner, **more)

    monkeypatch.setattr(refiners, "refine", asking)
    refined()
    assert kept[0].desk.model is None
