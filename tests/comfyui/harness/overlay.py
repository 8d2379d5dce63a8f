"""ComfyUI's Python with what the extension requires, as if installed, and pytest; the host's own is left as it is.

A virtual environment of the project that sees all packages of the host. Into it goes only what the host lacks, so
this is also the proof that requirements.txt changes none of the host's packages: they could not be replaced unseen.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from harness.finding import PROJECT, Host

FOLDER = PROJECT / ".venv-comfyui"
PYTHON = FOLDER / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
REQUIREMENTS = PROJECT / "requirements.txt"
# gguf is what loaders of such files need, ComfyUI itself does not.
TOOLS = ("pytest>=8.3", "pytest-xdist>=3.6", "gguf>=0.17.1")
LIST_PACKAGE_FOLDERS = "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\\n')"


def with_requirements(host: Host) -> Host:
    """Return the host run by a Python that has its packages, the extension's requirements and the tests' tools."""
    stamp, wanted = FOLDER / "made-for", f"{host.python}\n{TOOLS}\n{REQUIREMENTS.read_text()}"
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / "lock"):  # two runs at a time must not both set it up
        if not (stamp.is_file() and stamp.read_text() == wanted):
            print(f"setting up {FOLDER.name} over {host.python} ...", flush=True)
            stamp.unlink(missing_ok=True)
            _make(host)
            stamp.write_text(wanted)
    return replace(host, python=PYTHON)


def environment() -> dict[str, str]:
    """Return our environment without what would change the host's Python, and with one thread for the tiny models.

    Two threads that wait for each other on a busy machine are many times slower than one.
    """
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return {**own, "OMP_NUM_THREADS": "1"}


def _make(host: Host) -> None:
    subprocess.run([host.python, "-m", "venv", "--clear", "--without-pip", FOLDER / "venv"], check=True)
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in _package_folders(host.python)]
    Path(_package_folders(PYTHON)[0], "host.pth").write_text("".join(lines))
    pip = [sys.executable, "-m", "pip", "--python", PYTHON, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", REQUIREMENTS, *TOOLS], check=True)


def _package_folders(python: Path) -> list[str]:
    listed = subprocess.run([python, "-c", LIST_PACKAGE_FOLDERS], capture_output=True, text=True, check=True, cwd="/")
    return listed.stdout.splitlines()
