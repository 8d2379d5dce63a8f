"""Run the tests that need a real ComfyUI: inside its own Python, and against its server and in a browser.

    python tests/comfyui/run.py                      both sets
    python tests/comfyui/run.py host -k bridge       one set; what follows goes to pytest

`make test-comfyui` does the first in the project's environment. A ComfyUI is found as harness/finding.py says; nothing
is installed into it and none of its folders is written to.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.finding import PROJECT, Host, NoHostError, find_host

HERE = Path(__file__).absolute().parent
TOOLS = PROJECT / ".venv-comfyui-tools"
PYTEST = "pytest>=8.3"

# The tools come last on the path: where the host has a package of its own, the host's is the one that is tested.
PYTEST_IN_HOST = "import sys; sys.path.append(sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def main() -> int:
    """Run the sets asked for, all of them even if one fails; return the worst exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", choices=SETS, help="one set of tests (both by default)")
    options, pytest_arguments = parser.parse_known_args()
    try:
        host = find_host()
    except NoHostError as error:
        print(f"test-comfyui: {error}", file=sys.stderr)
        return 1
    print(f"test-comfyui: {host}", flush=True)
    os.environ.update(COMFYUI_PATH=str(host.folder), COMFYUI_PYTHON=str(host.python))
    return max(SETS[name](host, pytest_arguments) for name in ([options.set] if options.set else SETS))


def test_in_host(host: Host, arguments: list[str]) -> int:
    """Run tests/comfyui/host with ComfyUI's own Python."""
    install_tools(host)
    return subprocess.call([host.python, "-c", PYTEST_IN_HOST, TOOLS, *arguments], cwd=HERE / "host")


def test_server(host: Host, arguments: list[str]) -> int:
    """Run tests/comfyui/server with this Python; the fixtures there start the host."""
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=HERE / "server")


def install_tools(host: Host) -> None:
    """Put pytest for the host's Python into a folder of the project's own."""
    stamp, wanted = TOOLS / ".installed", f"{PYTEST} for {host.python}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(TOOLS, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--python", host.python, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--target", TOOLS, PYTEST], check=True)
    stamp.write_text(wanted)


SETS: dict[str, Callable[[Host, list[str]], int]] = {"host": test_in_host, "server": test_server}


if __name__ == "__main__":
    sys.exit(main())
