"""Run the tests that need a real ComfyUI: inside its own Python, and against its server and in a browser.

    python tests/comfyui/run.py                      both sets
    python tests/comfyui/run.py host -k bridge       one set; what follows goes to pytest (-n 0: one file at a time)

`make test-comfyui` does the first in the project's environment. A ComfyUI is found as harness/finding.py says; nothing
is installed into it (harness/overlay.py) and none of its folders is written to.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.finding import Host, NoHostError, find_host
from harness.overlay import environment, with_requirements

HERE = Path(__file__).absolute().parent
#: Two files of tests at a time, each with a host of its own; a browser waits more than it computes.
TWO_AT_A_TIME = ("-n", "2", "--dist", "loadfile")


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
    command = [with_requirements(host).python, "-m", "pytest", *TWO_AT_A_TIME, *arguments]
    return subprocess.call(command, cwd=HERE / "host", env=environment())


def test_server(host: Host, arguments: list[str]) -> int:
    """Run tests/comfyui/server with this Python; the fixtures there start the host."""
    return subprocess.call([sys.executable, "-m", "pytest", *TWO_AT_A_TIME, *arguments], cwd=HERE / "server")


SETS: dict[str, Callable[[Host, list[str]], int]] = {"host": test_in_host, "server": test_server}


if __name__ == "__main__":
    sys.exit(main())
