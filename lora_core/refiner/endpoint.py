"""A refiner that is a server: a language model behind an address of OpenAI's form, such as llama.cpp, Ollama or vLLM.

Nothing is asked through a proxy, no redirection is followed, and the whole answer has one time limit.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from ..checks import finite_number, first_line, one_line, shown, whole_number
from ..errors import RequestError
from ..wording import said
from .command import SECONDS
from .instructions import Instructions, find_instructions, usual_instructions
from .languages import language_of
from .reply import prompt_in

#: Where a key for the server is looked for; it is in no record.
KEY = "WANLOOM_REFINER_KEY"
#: Models that think write that first.
MAX_TOKENS = 4096
_EXPECTED = "http://HOST:PORT or https://HOST, with /v1 or without"
#: No prompt is longer, whatever surrounds it.
_MAX_BYTES = 1 << 22
_CUT = ("length", "max_tokens")


@dataclass(frozen=True)
class EndpointRefiner:
    """A server that answers `POST /v1/chat/completions`; it is asked for the likeliest answer, with seed 0.

    Attributes:
        url: `http://127.0.0.1:8080`, with `/v1` or without; the prompt leaves this machine if it is another's.
        model: as the server calls it; "" for the one that it has.
        instructions: the system prompt: a name of ours ("cosmos"), a file, or a text; None for the usual one.
        seconds: how long the whole answer may take.
        max_tokens: how long it may be.
        protected: what the model is told to leave as it is.

    Raises:
        RequestError: the address is none, or there are no such instructions.
    """

    url: str
    model: str = ""
    instructions: str | None = None
    seconds: float = SECONDS
    max_tokens: int = MAX_TOKENS
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if finite_number(self.seconds, "refiner seconds", RequestError) <= 0:
            what = said("{seconds:g} leaves it no time", seconds=self.seconds)
            raise RequestError("refiner seconds", what, expected="more than 0", remedy="Give it time")
        whole_number(self.max_tokens, "refiner max_tokens", RequestError, low=1)
        _checked(self.url)
        self.told  # noqa: B018  # what is not there is said before anything is made

    @property
    def told(self) -> Instructions:
        """Its instructions."""
        return find_instructions(usual_instructions() if self.instructions is None else self.instructions)

    @property
    def name(self) -> str:
        """What a record calls it."""
        return f"{self.url}{f' {self.model}' if self.model else ''}{self.told.suffix}"

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine."""
        host = _checked(self.url).hostname or ""
        with suppress(ValueError):
            return ip_address(host).is_loopback
        return host == "localhost"

    def language_for(self, prompt: str) -> str:
        """Return the language that its answer has to be in; "" where nobody says."""
        return self.told.language_for(language_of(prompt))

    def writing_as(self, instructions: str) -> EndpointRefiner:
        """Return the same refiner with other instructions; itself where some were given."""
        return self if self.instructions is not None else replace(self, instructions=instructions)

    def protecting(self, words: Sequence[str]) -> EndpointRefiner:
        """Return the same refiner, told of words that stay as they are."""
        return replace(self, protected=tuple(words))

    def __call__(self, prompt: str) -> str:
        """Return what the server's model makes of a prompt.

        Raises:
            RequestError: the server is not there, not done in time, or answers something else.
        """
        system = self.told.keeping(self.protected)
        turns = [{"role": "system", "content": system}] if system else []
        asked = {
            **({"model": self.model} if self.model else {}),
            "messages": [*turns, {"role": "user", "content": prompt}],
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.max_tokens,
            "stream": False,
        }
        status, body = self._post(json.dumps(asked).encode())
        text, is_ended = _answer_in(status, body)
        return prompt_in(text, prompt, system, is_ended=is_ended, max_tokens=self.max_tokens)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body that the server answers with."""
        url = _checked(self.url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        headers = {"Content-Type": "application/json", **_authorization()}
        end = time.monotonic() + self.seconds
        connection = kind(url.hostname or "", url.port, timeout=self.seconds)
        try:
            connection.connect()
            with _ended_at(end, connection.sock) as late:
                connection.request("POST", _path(url), body, headers)
                response = connection.getresponse()
                answer = response.status, response.read(_MAX_BYTES)
        except (OSError, HTTPException) as error:
            if time.monotonic() >= end:
                raise self._late() from None
            what = said("{url} cannot be asked: {why}", url=self.url, why=first_line(error))
            raise RequestError("refiner", what, remedy="Start the server, or correct its address") from None
        finally:
            connection.close()
        if late.is_set():
            raise self._late()
        return answer

    def _late(self) -> RequestError:
        what = said("it was not done within {seconds:g} s", seconds=self.seconds)
        return RequestError("refiner", what, remedy="Give it more time")


@contextmanager
def _ended_at(end: float, connected: socket.socket) -> Iterator[threading.Event]:
    """End a connection at a time, whatever still comes in; a limit of the socket's own begins anew with every byte."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - time.monotonic()), stop)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _authorization() -> dict[str, str]:
    """Return the header with the key, where the environment has one; no message ever repeats it."""
    key = os.environ.get(KEY, "").strip()  # one that was read from a file has the end of its line
    if not (key.isascii() and key.isprintable()):
        what = said("the key in {name} has letters that no key can have", name=KEY)
        raise RequestError("refiner", what, remedy="Copy it anew")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _checked(url: str) -> SplitResult:
    """Return an address taken apart, or say what is wrong with it, without repeating a password in it."""
    try:
        split = urlsplit(url.strip())
        is_good = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        is_good = False
    if not is_good or re.search(r"[\x00-\x20\x7f]", url.strip()):
        what = said("{url!r:.200} is no address of a server", url=url)
        raise RequestError("refiner url", what, expected=_EXPECTED, remedy="Correct it")
    if split.username or split.password or split.query or split.fragment:
        what = said("an address with a password, a query or a fragment")
        remedy = said("Leave it out; a key is taken from the environment variable {name}", name=KEY)
        raise RequestError("refiner url", what, expected=_EXPECTED, remedy=remedy)
    return split


def _path(url: SplitResult) -> str:
    """Return where chat completions are asked for: the address, completed."""
    path = url.path.rstrip("/").removesuffix("/chat/completions")
    return f"{path if re.search(r'/v[0-9]+$', path) else f'{path}/v1'}/chat/completions"


def _answer_in(status: int, body: bytes) -> tuple[str, bool]:
    """Return the text of an answer, and whether it was ended."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if status != 200:
        why = _fault_in(told) or shown(body.decode(errors="replace").strip())
        raise RequestError("refiner", said("the server answers {status}: {why}", status=status, why=why))
    if not isinstance(told, dict):
        what = said("the server answers no JSON but {text}", text=shown(body.decode(errors="replace").strip()))
        raise RequestError("refiner", what, remedy="Give the address of a server of OpenAI's form")
    try:
        choice = told["choices"][0]
        text = choice["message"]["content"] or ""
        if not isinstance(text, str):
            raise TypeError
    except (KeyError, IndexError, TypeError):
        why = _fault_in(told) or shown(json.dumps(told, ensure_ascii=False))
        raise RequestError("refiner", said("the server answers without a choice: {why}", why=why)) from None
    return text, choice.get("finish_reason") not in _CUT


def _fault_in(told: object) -> str:
    """Return what an answer says went wrong, in the forms that servers have for that, or ""."""
    for key in ("error", "message", "detail"):
        if isinstance(told, dict) and told.get(key):
            inner = told[key]
            return (
                _fault_in(inner) or shown(json.dumps(inner, ensure_ascii=False))
                if isinstance(inner, dict)
                else one_line(str(inner))
            )
    return ""
