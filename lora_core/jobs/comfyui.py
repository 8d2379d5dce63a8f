"""A ComfyUI server as a worker: a filled workflow queued, followed by the history, and its video fetched."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import replacing, write_text
from ..checks import first_line
from ..engine.request import open_picture
from ..errors import RequestError
from .ended import Done
from .finished import output_row
from .item import Item
from .sharing import WorkerLostError
from .workflow import Workflow, filled

_SECONDS_TO_ANSWER = 60.0
#: Between two looks into the history: the first, and the longest.
_PAUSES = (0.2, 2.0)
#: How often a server that does not answer is asked again before it counts as lost.
_TRIES = 3


class Server:
    """A server that answers, and does one job at a time of ours."""

    def __init__(self, url: str, workflow: Workflow) -> None:
        """Look whether it answers.

        Raises:
            WorkerLostError: it does not.
        """
        self.name = self.url = url
        self._workflow = workflow
        self._prompt: str | None = None
        self._has_job = False
        self._ask("/system_stats")

    def do(self, item: Item) -> Done:
        """Queue a job, wait for it, and write its video and record; see `sharing.Worker`."""
        started, self._has_job = time.monotonic(), True
        workflow = filled(self._workflow, item, self._upload)
        self._prompt = self._queue(workflow)
        try:
            outputs = self._followed(self._prompt)
        finally:
            self._prompt, self._has_job = None, False
        file = _video_in(outputs, item.output)
        with replacing(item.output) as temporary:
            temporary.write_bytes(self._ask(f"/view?{urllib.parse.urlencode(file)}"))
        seconds = time.monotonic() - started
        record = {
            "server": self.url,
            "seconds": round(seconds, 3),
            **asked_row(workflow),
            "output": output_row(item.output),
        }
        write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", item.record_file)
        return Done(item.number, item.output, self.name, seconds)

    def close(self) -> None:
        """Take our job out of its queue, or stop it; nobody else's is touched."""
        if self._prompt is not None:
            self._ask("/queue", {"delete": [self._prompt]})
            self._ask("/interrupt", {"prompt_id": self._prompt})

    def _queue(self, workflow: Workflow) -> str:
        answer = json.loads(self._ask("/prompt", {"prompt": workflow}, tries=1))
        if "prompt_id" in answer and not answer.get("node_errors"):
            return str(answer["prompt_id"])
        faults = [
            f"node {number} {_title(workflow[number])!r}: {fault['message']}: {fault['details']}"
            for number, node in (answer.get("node_errors") or {}).items()
            for fault in node["errors"]
        ]
        what = "; ".join(faults or [str(answer.get("error", {}).get("message", answer))])
        raise RequestError(self.url, f"it refuses the workflow: {what}", remedy="Correct the job or the workflow")

    def _followed(self, prompt: str) -> Mapping[str, Any]:
        """Return the outputs of a job once it is done."""
        pause, longest = _PAUSES
        num_missed = 0
        while True:
            history = json.loads(self._ask(f"/history/{prompt}"))
            if prompt in history:
                return self._outputs(history[prompt])
            queue = json.loads(self._ask("/queue"))
            is_there = any(prompt == row[1] for rows in queue.values() for row in rows)
            num_missed = 0 if is_there else num_missed + 1
            if num_missed == _TRIES:  # between queue and history a job is in neither for a moment
                raise WorkerLostError(self.name, "has forgotten the job, and was likely started anew")
            time.sleep(pause)
            pause = min(1.5 * pause, longest)

    def _outputs(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        if record.get("status", {}).get("status_str", "success") == "success":
            outputs: Mapping[str, Any] = record["outputs"]
            return outputs
        messages = dict(record["status"].get("messages", []))
        error = messages.get("execution_error")
        if error is None:
            raise RequestError(self.url, "the job was stopped there", remedy="Run the list again")
        what = f"node {error['node_id']}, {error['node_type']}: {error['exception_message'].strip().rstrip('.')}"
        raise RequestError(self.url, what, remedy="Correct the job or the workflow")

    def _upload(self, path: Path) -> str:
        """Bring a picture into the server's input folder, under a name made of what is in it."""
        name = picture_name(path)
        mark = uuid.uuid4().hex
        fields = {"overwrite": "true", "type": "input"}
        parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n')
        body = "".join(parts).encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        self._ask("/upload/image", body, kind=f"multipart/form-data; boundary={mark}")
        return name

    def _ask(self, path: str, body: object = None, *, kind: str = "application/json", tries: int = _TRIES) -> bytes:
        """Return what the server answers; what it says of a bad request is an answer too."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind} if data is not None else {})
        while True:
            tries -= 1
            try:
                with urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER) as answer:
                    content: bytes = answer.read()
                    return content
            except urllib.error.HTTPError as error:
                if error.code == 400:
                    return error.read()
                what = f"it answers {error.code} {error.reason} to {path.partition('?')[0]}"
                raise RequestError(self.url, what, expected="a ComfyUI server", remedy="Check the address") from error
            except (OSError, http.client.HTTPException) as error:
                if tries <= 0:
                    reason = getattr(error, "reason", error)
                    why = getattr(reason, "strerror", None) or first_line(error)
                    raise WorkerLostError(self.name, why, is_for_good=True, blames_job=self._has_job) from error
                time.sleep(_PAUSES[0])


def asked_row(workflow: Workflow) -> dict[str, object]:
    """Return what a record says of what was asked for."""
    return {"workflow": workflow}


def picture_name(path: Path) -> str:
    """Return what a picture is called on every server: by what is in it.

    Raises:
        RequestError: it is no picture.
    """
    open_picture(path)
    return f"wanloom-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}{path.suffix.lower()}"


def _video_in(outputs: Mapping[str, Any], output: Path) -> dict[str, str]:
    """Return where the one file lies that a job saved with its output's ending."""
    lists = [shown for node in outputs.values() for shown in node.values() if isinstance(shown, list)]
    saved = [file for files in lists for file in files if isinstance(file, dict) and file.get("type") == "output"]
    fitting = [file for file in saved if Path(file["filename"]).suffix.lower() == output.suffix.lower()]
    if len(fitting) != 1:
        names = ", ".join(str(file["filename"]) for file in saved) or "nothing"
        what = f"the workflow saves {names}"
        raise RequestError("output", what, expected=f"one {output.suffix} file", remedy="Give the output its ending")
    return {key: fitting[0].get(key, "") for key in ("filename", "subfolder", "type")}


def _title(node: Mapping[str, Any]) -> str:
    return str(node.get("_meta", {}).get("title", node["class_type"]))
