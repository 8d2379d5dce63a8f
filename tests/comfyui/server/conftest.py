"""One real ComfyUI server for all tests here, a client of its API, and its canvas in a browser.

These tests run in the project's own Python: `make test-comfyui`, or `python tests/comfyui/run.py server -k words`.

    def test_something(comfy, canvas):
        run = comfy.run(workflow)            # harness/client.py: POST /prompt, then the websocket to the end
        assert run.outcome == "success" and comfy.view(run.files()[0])
        canvas.drop(file)                    # harness/canvas.py: a page of a headless Chromium on the same server
        canvas.picture("what-it-shows")      # into out/comfyui/, which git ignores

The server works in a temporary folder; `comfy.server.base / "models" / "loras"` takes files a test needs.
"""

from collections.abc import Iterator

import pytest
from harness.canvas import Canvas, find_chromium, opened
from harness.client import Client, connected
from harness.finding import Host, NoHostError, find_host
from harness.overlay import with_requirements
from harness.server import Server, started
from playwright.sync_api import expect

#: What a page says at once; what a run has to reach first names its own time where it waits.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def host() -> Host:
    try:
        return with_requirements(find_host())
    except NoHostError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(host, tmp_path_factory.mktemp("comfyui")) as server:
        yield server


@pytest.fixture(scope="session")
def comfy(server: Server) -> Iterator[Client]:
    with connected(server) as client:
        yield client


@pytest.fixture(scope="session")
def canvas(server: Server) -> Iterator[Canvas]:
    """The canvas of the frontend, open; tests drop on it what they need, one workflow after the other."""
    chromium = find_chromium()
    if not chromium:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with opened(server.url, chromium) as canvas:
        yield canvas
