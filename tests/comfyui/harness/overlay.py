"""ComfyUI's Python with what the extension requires, as if installed, and pytest; the host's own is left as it is.

A virtual environment of the project that sees all packages of the host. Into it goes only what the host lacks, so
this is also the proof that requirements.txt changes none of the host's packages: they could not be replaced unseen.
"""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from harness.finding import PROJECT, Host

FOLDER = PROJECT / ".venv-comfyui"
REQUIREMENTS = PROJECT / "requirements.txt"
PYTEST = "pytest>=8.3"
LIST_PACKAGE_FOLDERS = "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\\n')"


def with_requirements(host: Host) -> Host:
    """Return the host run by a Python that has its packages, the extension's requirements and pytest."""
    python = FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp, wanted = FOLDER / "made-for", f"{host.python}\n{PYTEST}\n{REQUIREMENTS.read_text()}"
    if not (stamp.is_file() and stamp.read_text() == wanted):
        print(f"setting up {FOLDER.name} over {host.python} ...", flush=True)
        _make(host, python)
        stamp.write_text(wanted)
    return replace(host, python=python)


def _make(host: Host, python: Path) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([host.python, "-m", "venv", "--without-pip", FOLDER], check=True)
    own = _package_folders(python)
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in _package_folders(host.python)]
    Path(own[0], "host.pth").write_text("".join(lines))
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", REQUIREMENTS, PYTEST], check=True)


def _package_folders(python: Path) -> list[str]:
    listed = subprocess.run([python, "-c", LIST_PACKAGE_FOLDERS], capture_output=True, text=True, check=True, cwd="/")
    return listed.stdout.splitlines()
