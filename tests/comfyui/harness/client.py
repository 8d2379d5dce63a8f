"""A client of ComfyUI's API: queue a prompt, follow it through the websocket, read what it made."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from websockets.sync.client import ClientConnection, connect

from harness.server import Server

Workflow = dict[str, dict[str, Any]]
ENDS = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}


class PromptRefusedError(Exception):
    """The server did not queue a prompt, or left out some of its outputs."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """Keep the server's answer."""
        super().__init__(json.dumps(answer, indent=2))
        self.node_errors: dict[str, Any] = answer.get("node_errors", {})

    def texts(self, node_id: str) -> str:
        """Return what the server says about one node, as the canvas shows it."""
        errors = self.node_errors.get(node_id, {"errors": []})["errors"]
        return "\n".join(f"{error['message']}: {error['details']}" for error in errors)


@dataclass(frozen=True)
class Event:
    """One message of the websocket; `preview` stands for the binary ones."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What became of one prompt."""

    prompt_id: str
    outcome: str
    events: tuple[Event, ...]
    outputs: dict[str, dict[str, Any]]

    def of_type(self, type: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == type]

    @property
    def executed(self) -> list[str]:
        """The ids of the nodes that ran, in order; a node whose kept result was taken is not among them."""
        return [data["node"] for data in self.of_type("executing") if data.get("node")]

    @property
    def error(self) -> dict[str, Any]:
        """What the server said of the error that ended the run; empty if none did."""
        return next(iter(self.of_type("execution_error")), {})

    def files(self, node_id: str | None = None) -> list[dict[str, str]]:
        """Return every file that the outputs of one node, or of all, name."""
        outputs = [output for number, output in self.outputs.items() if node_id in (None, number)]
        lists = [entries for output in outputs for entries in output.values() if isinstance(entries, list)]
        return [entry for entries in lists for entry in entries if isinstance(entry, dict) and "filename" in entry]


@contextlib.contextmanager
def connected(server: Server) -> Iterator["Client"]:
    """Give a client with an id and a websocket of its own."""
    client_id = uuid.uuid4().hex
    address = f"{server.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
    # No ping and no limit: nobody reads between two runs, and the messages of that time must not be lost.
    with connect(address, ping_interval=None, max_queue=None, max_size=None) as websocket:
        yield Client(server, client_id, websocket)


@dataclass(frozen=True)
class Client:
    """What can be asked of a running server."""

    server: Server
    client_id: str
    websocket: ClientConnection

    def post_prompt(self, workflow: Workflow) -> str:
        """Queue a workflow in API format; return its prompt id or raise PromptRefusedError."""
        answer = requests.post(
            f"{self.server.url}/prompt", json={"prompt": workflow, "client_id": self.client_id}, timeout=60
        )
        if "prompt_id" in answer.json() and answer.json()["node_errors"]:
            self.wait(answer.json()["prompt_id"])  # the outputs without errors were queued all the same
        if not answer.ok or answer.json()["node_errors"]:
            raise PromptRefusedError(answer.json())
        return answer.json()["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = 120) -> Run:
        """Follow a prompt to its end."""
        events = tuple(self.follow(prompt_id, seconds))
        return Run(prompt_id, ENDS[events[-1].type], events, self.history(prompt_id).get("outputs", {}))

    def run(self, workflow: Workflow, seconds: float = 120) -> Run:
        return self.wait(self.post_prompt(workflow), seconds)

    def follow(self, prompt_id: str, seconds: float = 120) -> Iterator[Event]:
        """Yield the events of a prompt as they come, the one that ends it last."""
        end = time.monotonic() + seconds
        while True:
            event = self._receive(end)
            if event.data.get("prompt_id", prompt_id) != prompt_id:
                continue
            yield event
            if event.type in ENDS:
                return

    def _receive(self, end: float) -> Event:
        try:
            message = self.websocket.recv(timeout=max(end - time.monotonic(), 0))
        except TimeoutError as error:
            raise TimeoutError(
                f"the prompt did not end in time; the server's log:\n{self.server.log()[-3000:]}"
            ) from error
        if isinstance(message, bytes):
            return Event("preview", {"bytes": message})
        parsed = json.loads(message)
        return Event(parsed["type"], parsed["data"])

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Return the kept record of a prompt; it appears a moment after the prompt's last event."""
        for _ in range(50):
            record = self._get(f"history/{prompt_id}").json()
            if prompt_id in record:
                return record[prompt_id]
            time.sleep(0.1)
        raise TimeoutError(f"prompt {prompt_id} never came into the history")

    def object_info(self, node_id: str = "") -> dict[str, Any]:
        return self._get(f"object_info/{node_id}" if node_id else "object_info").json()

    def interrupt(self) -> None:
        requests.post(f"{self.server.url}/interrupt", json={}, timeout=30).raise_for_status()

    def view(self, file: dict[str, str]) -> bytes:
        """Return the bytes of a file that a run made."""
        return self._get("view", {name: file[name] for name in ("filename", "subfolder", "type")}).content

    def path(self, file: dict[str, str]) -> Path:
        """Return where a file that a run made lies."""
        return self.server.base / file["type"] / file["subfolder"] / file["filename"]

    def rss(self) -> int:
        return self.server.rss()

    def log(self) -> str:
        return self.server.log()

    def _get(self, path: str, query: dict[str, str] | None = None) -> requests.Response:
        answer = requests.get(f"{self.server.url}/{path}", params=query, timeout=60)
        answer.raise_for_status()
        return answer
