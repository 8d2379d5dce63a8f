"""A server as the refiner: a real one on this machine, well or ill, quick or slow, against one time limit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from lora_core.errors import RequestError
from lora_core.refiner.endpoint import KEY, EndpointRefiner
from lora_core.refiner.refine import fitted, refine

PROMPT = 'a cat with a sign "HI", 猫'


def choice(text: object, finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


#: What the server answers below each path: status, body.
ANSWERS: dict[str, tuple[int, str]] = {
    "html": (200, "<!DOCTYPE html><html>Welcome to nginx</html>"),
    "missing": (404, json.dumps({"error": {"message": "model 'x' not found", "code": 404}})),
    "ollama": (400, json.dumps({"error": "model is required"})),
    "broken": (500, "<html>Internal Server Error</html>"),
    "moved": (302, ""),
    "none": (200, json.dumps({"choices": []})),
    "told": (200, json.dumps({"object": "error", "message": "too long"})),
    "list": (200, "[]"),
    "null": (200, json.dumps(choice(None))),
    "parts": (200, json.dumps(choice([{"text": "a"}]))),
    "cut": (200, json.dumps(choice('a cat with a sign "HI" and', "length"))),
    "lost": (200, json.dumps(choice("a tabby cat with a sign"))),
    "chinese": (200, json.dumps(choice("一只猫拿着牌子“HI”"))),
    "think": (200, json.dumps(choice('<think>\nHm.</think>\n"A tabby with a sign “HI”"'))),
}


class Model(BaseHTTPRequestHandler):
    """A language model that answers with the last of the turns in large letters, or as its path says."""

    asked: ClassVar[list[tuple[str, dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body, self.headers.get("Authorization")))
        name = self.path.split("/")[1]
        with suppress(OSError):  # who asked is gone
            if name in ("slow", "drip", "headers"):
                self._hesitate(name)
            else:
                status, answer = ANSWERS.get(name, (200, json.dumps(choice(f"{body['messages'][-1]['content']}!"))))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer.encode())

    def _hesitate(self, name: str) -> None:
        if name == "drip":
            self.send_response(200)
            self.end_headers()
        elif name == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100):
            time.sleep(0.1)
            if name != "slow":
                self.wfile.write(b" ")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_is_asked_for_the_likeliest_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv(KEY, "secret")
    refiner = EndpointRefiner(url, "qwen", "cosmos")
    told = refine(PROMPT, refiner)
    assert (told.prompt, told.fault) == (f"{PROMPT}!", "")
    path, body, key = Model.asked[-1]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"], body["seed"], body["stream"]) == ("qwen", 0, 0, False)
    assert body["messages"][0]["content"].endswith("each as often as you need it: HI")
    assert (told.by, told.row()["by"]) == (f"{url} qwen, as cosmos",) * 2
    assert "secret" not in str(told) + str(refiner)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("", ""),
        ("/", ""),
        ("/v1", ""),
        ("/v1/", ""),
        ("/v1/chat/completions", ""),
        ("/openai/v1", "/openai"),
        ("/x", "/x"),
    ],
)
def test_an_address_is_completed(url: str, given: str, asked: str) -> None:
    refine("a cat", EndpointRefiner(url + given))
    assert Model.asked[-1][0] == f"{asked}/v1/chat/completions"


def test_it_writes_for_the_model_of_the_video_unless_it_is_told_how(url: str) -> None:
    from lora_core.families.registry import spec_named

    cosmos = spec_named("cosmos-predict2-2b-video2world")
    assert fitted(EndpointRefiner(url), cosmos).name == f"{url}, as cosmos"
    assert fitted(EndpointRefiner(url, instructions="Do this."), cosmos).name.startswith(f"{url}, instructions ")
    assert fitted(EndpointRefiner(url), spec_named("wan2.2-i2v-a14b")).name == f"{url}, as wan-i2v"
    assert EndpointRefiner(url).name == f"{url}, as wan-t2v"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("html", "the server answers no JSON but '<!DOCTYPE html><html>Welcome to nginx</html>'"),
        ("missing", "the server answers 404: model 'x' not found"),
        ("ollama", "the server answers 400: model is required"),
        ("broken", "the server answers 500: '<html>Internal Server Error</html>'"),
        ("moved", "the server answers 302: ''"),
        ("none", "the server answers without a choice: '{\"choices\": []}'"),
        ("told", "the server answers without a choice: too long"),
        ("list", "the server answers no JSON but '[]'"),
        ("null", "it gave nothing"),
        ("parts", "the server answers without a choice: "),
        ("cut", "it did not come to an end within 4,096 tokens"),
        ("lost", "it lost the quoted text 'HI' in 'a tabby cat with a sign'"),
        ("chinese", "it answered in another language than en, '一只猫拿着牌子“HI”'"),
    ],
)
def test_an_answer_that_is_none_leaves_the_prompt_as_it_was(url: str, path: str, said: str) -> None:
    told = refine(PROMPT, EndpointRefiner(f"{url}/{path}"))
    assert told.prompt == PROMPT
    assert told.fault.startswith(said)


def test_what_a_model_thinks_is_no_part_of_the_prompt(url: str) -> None:
    assert refine(PROMPT, EndpointRefiner(f"{url}/think")).prompt == "A tabby with a sign “HI”"


@pytest.mark.parametrize("path", ["slow", "drip", "headers"])
def test_the_whole_answer_has_one_time_limit(url: str, path: str) -> None:
    started = time.monotonic()
    told = refine(PROMPT, EndpointRefiner(f"{url}/{path}", seconds=0.4))
    assert told.fault == "it was not done within 0.4 s"
    assert time.monotonic() - started < 8  # of ten seconds that the server would take


def test_a_server_that_is_not_there_leaves_the_prompt_as_it_was() -> None:
    told = refine(PROMPT, EndpointRefiner("http://127.0.0.1:9"))
    assert (told.prompt, told.fault.startswith("http://127.0.0.1:9 cannot be asked: ")) == (PROMPT, True)


@pytest.mark.parametrize(
    ("address", "is_here"),
    [("http://127.0.0.1:1", True), ("http://localhost/v1", True), ("http://[::1]:8", True), ("https://x.org", False)],
)
def test_it_knows_whether_the_prompt_leaves_the_machine(address: str, is_here: bool) -> None:
    assert EndpointRefiner(address).is_here is is_here


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://127.0.0.1", "'ftp://127.0.0.1' is no address of a server (http://HOST:PORT or https://HOST, with /v1"),
        ("127.0.0.1:8080", "'127.0.0.1:8080' is no address of a server"),
        ("http://127.0.0.1:99999", "'http://127.0.0.1:99999' is no address of a server"),
        ("http://a b/", "'http://a b/' is no address of a server"),
        ("http://me:secret@127.0.0.1", "an address with a password, a query or a fragment"),
        ("http://127.0.0.1/?key=secret", "an address with a password, a query or a fragment"),
    ],
)
def test_what_is_no_address_is_an_error_before_anything_runs(address: str, said: str) -> None:
    with pytest.raises(RequestError) as error:
        EndpointRefiner(address)
    assert str(error.value).startswith(f"refiner url: {said}")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("settings", [{"seconds": 0}, {"seconds": float("nan")}, {"max_tokens": 0}])
def test_settings_out_of_range_are_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="refiner"):
        EndpointRefiner("http://127.0.0.1", **settings)


def test_a_key_stands_in_no_message(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-sec\nret")
    told = refine("a cat", EndpointRefiner(url))
    assert told.fault == f"the key in {KEY} has letters that no key can have"
    monkeypatch.setenv(KEY, "sk-secret\n")  # as a file has it
    assert refine("a cat", EndpointRefiner(url)).fault == ""
