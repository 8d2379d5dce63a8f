"""A ComfyUI server of the tests' own, in temporary folders, with the extension linked into custom_nodes."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from harness.finding import PROJECT, Host
from harness.overlay import environment

SECONDS_TO_START = 120
FOLDERS = ("custom_nodes", "input", "output", "models/loras", "user/default")
OPTIONS = (
    "--cpu",
    "--listen",
    "127.0.0.1",
    "--disable-auto-launch",
    "--disable-api-nodes",
    "--preview-method",
    "latent2rgb",
)
LOCAL_DATABASE = ("--database-url", "sqlite:///:memory:")

# glibc keeps freed memory in steps of 100 MB; given back at once, what the process holds is what it needs.
GIVE_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1048576", "MALLOC_MMAP_THRESHOLD_": "1048576"}

# Nothing that covers the canvas at a first start, and nothing left out when a workflow is looked at from afar.
FRONTEND_SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}


class ServerFailedError(Exception):
    """The server did not start, or ended on its own; the text holds the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, the folder it works in, its process."""

    url: str
    base: Path
    process: subprocess.Popen

    @property
    def log_file(self) -> Path:
        return self.base / "server.log"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def rss(self) -> int:
        """Return the bytes of memory the server's process holds."""
        return psutil.Process(self.process.pid).memory_info().rss


@contextlib.contextmanager
def started(host: Host, base: Path, extension: Path | None = PROJECT, *options: str) -> Iterator[Server]:
    """Start `host` in `base`, wait until it answers, and end it with the block, however the block ends."""
    _prepare(base, extension)
    port = _free_port()
    main = Path(__file__).with_name("started_main.py")
    command = [host.python, main, host.folder / "main.py", "--base-directory", base, "--port", port]
    with open(base / "server.log", "w") as log:
        process = subprocess.Popen(
            [*map(str, command), *OPTIONS, *LOCAL_DATABASE, *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=base,
            env=environment() | GIVE_BACK,
        )
    server = Server(f"http://127.0.0.1:{port}", base, process)
    try:
        _wait_until_it_answers(server)
        yield server
    finally:
        _end(process)


def _prepare(base: Path, extension: Path | None) -> None:
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "user/default/comfy.settings.json").write_text(json.dumps(FRONTEND_SETTINGS))
    if extension:
        (base / "custom_nodes/wanloom").symlink_to(extension, target_is_directory=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_it_answers(server: Server) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end and server.process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{server.url}/system_stats", timeout=5).ok:
                return
        time.sleep(0.2)
    raise ServerFailedError(f"no answer from {server.url}; the end of its log:\n{server.log()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
