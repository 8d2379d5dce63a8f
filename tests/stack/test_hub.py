"""Repositories on Hugging Face in the place of paths: in the local cache, and from a small hub on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from lora_core.errors import StackError
from lora_core.stack.hub import Repository
from lora_core.stack.row_files import with_found_files
from lora_core.stack.stack import LoraStack

HIGH, LOW = "wan2.2_t2v_high_noise_lora.safetensors", "wan2.2_t2v_low_noise_lora.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub, which reads where it is once, when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def keep(cache: Path, repository: str, *files: str) -> Path:
    """Put a repository into the cache as the hub's client does: blobs, and links to them under their names."""
    root = cache / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    for name in files:
        blob = root / "blobs" / hashlib.sha256(name.encode()).hexdigest()
        link = snapshot / name
        for path in (blob, link, root / "refs/main"):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(name.encode())
        link.symlink_to(blob)
    (root / "refs/main").write_text(COMMIT)
    return snapshot


TEXTS = {
    "lightx2v/Wan2.2-Distill-Loras": ("lightx2v/Wan2.2-Distill-Loras", None, True),
    "owner/name:x_high.safetensors": ("owner/name", "x_high.safetensors", True),
    "owner/name/sub/x_high.safetensors": ("owner/name", "sub/x_high.safetensors", False),
    "https://huggingface.co/owner/name": ("owner/name", None, True),
    "https:/huggingface.co/owner/name/": ("owner/name", None, True),
    "https://huggingface.co/owner/name/resolve/main/sub/x.safetensors?download=true": (
        "owner/name",
        "sub/x.safetensors",
        True,
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_repository_is_known_by_how_it_is_written(text: str) -> None:
    repository = Repository.of(text)
    assert repository is not None
    assert (repository.id, repository.file, repository.is_certain) == TEXTS[text]


@pytest.mark.parametrize(
    "text", ["style.safetensors", "wan/style.safetensors", "/abs/olute", "../up/x", "a b/c", "./a"]
)
def test_what_cannot_be_a_repository_is_none(text: str) -> None:
    assert Repository.of(text) is None


def found(row: object) -> tuple[str, str | None]:
    (entry,) = LoraStack.from_json([row])
    entry = with_found_files(entry, ())
    assert entry.path is not None
    return entry.path.name, entry.low_noise_path.name if entry.low_noise_path else None


def test_the_file_is_chosen_by_the_expert_and_keeps_its_name(cache: Path) -> None:
    snapshot = keep(cache, "owner/pair", HIGH, LOW, "README.md")
    for applies_to in ("auto", "both"):
        assert found({"path": "owner/pair", "applies_to": applies_to}) == (HIGH, LOW)
    assert found({"path": "owner/pair", "applies_to": "high_noise"}) == (HIGH, None)
    assert found({"path": "owner/pair", "applies_to": "low_noise"}) == (LOW, None)
    assert found({"path": "owner/pair", "weight_name": LOW}) == (LOW, None)
    assert found(f"owner/pair:{HIGH}") == (HIGH, None)
    assert Repository("owner/pair").find("high_noise")[0] == snapshot / HIGH


def test_the_only_file_of_a_repository_is_taken(cache: Path) -> None:
    keep(cache, "owner/one", "sub/style.safetensors")
    assert found("owner/one") == ("style.safetensors", None)


def test_what_could_be_several_files_is_listed(cache: Path) -> None:
    many = [f"wan2.2_{task}_{expert}_noise.safetensors" for task in ("i2v", "t2v") for expert in ("high", "low")]
    keep(cache, "owner/many", *many)
    with pytest.raises(StackError) as caught:
        found({"path": "owner/many", "applies_to": "high_noise"})
    assert str(caught.value) == (
        "owner/many: the repository has 2 LoRA files for high_noise: wan2.2_i2v_high_noise.safetensors, "
        "wan2.2_t2v_high_noise.safetensors. Name one, such as owner/many:wan2.2_i2v_high_noise.safetensors."
    )
    with pytest.raises(StackError, match="the repository has 4 LoRA files: "):
        found("owner/many")


def test_a_repository_that_is_not_there_is_an_error_with_the_command_that_fetches_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StackError) as caught:
        found("owner/name")
    assert str(caught.value) == (
        f"owner/name: no such file in {tmp_path}/owner, and the local Hugging Face cache has no such repository "
        "(a LoRA file). Check the path, fetch the repository with `hf download owner/name`, or switch download on."
    )
    with pytest.raises(StackError, match=r"hf download owner/name x\.safetensors"):
        found("owner/name:x.safetensors")
    message = r"^wan/a/x\.safetensors: no such file in [^ ]* \(a LoRA file\)\. Name a file that is there\.$"
    with pytest.raises(StackError, match=message):
        found("wan/a/x.safetensors")


class Hub(BaseHTTPRequestHandler):
    """The three answers of a hub that a download asks for: the list of files, a file's head, a file."""

    files: ClassVar = {name: name.encode() for name in (HIGH, LOW)}

    def do_HEAD(self) -> None:  # http.server's name
        self._answer(send=False)

    def do_GET(self) -> None:  # http.server's name
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/api/models/owner/name/tree/main"):
            listed = [{"type": "file", "path": file, "size": len(data), "oid": ""} for file, data in self.files.items()]
            body = json.dumps(listed).encode()
        elif name in self.files:
            body = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


FETCH = """
import sys
from lora_core.stack.stack import LoraStack
from lora_core.stack.row_files import with_found_files
(entry,) = LoraStack.from_json([{"path": "owner/name"}])
entry = with_found_files(entry, (), download="download" in sys.argv)
print(entry.path.name, entry.low_noise_path.name)
"""


def test_a_repository_is_fetched_on_request_alone(endpoint: str, tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads its address and its cache when it is imported."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}

    def fetch(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", FETCH, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert "the local Hugging Face cache has no such repository" in fetch().stderr
    fetched = fetch("download")
    assert fetched.stdout.split() == [HIGH, LOW], fetched.stderr
    again = fetch()
    assert again.stdout.split() == [HIGH, LOW], again.stderr
