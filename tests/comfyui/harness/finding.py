"""The ComfyUI on this machine, and the Python that runs it.

python tests/comfyui/harness/finding.py     prints both, or says in one line why there is none and exits with 1
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(os.path.abspath(__file__)).parents[3]  # links stay: one of them may lie in custom_nodes

MARKS = ("main.py", "nodes.py", "folder_paths.py", "comfy/options.py")
PYTHONS = (
    *(f"{venv}/bin/python" for venv in ("venv", ".venv", "env")),
    *(f"{venv}/Scripts/python.exe" for venv in ("venv", ".venv", "env")),
)
NEEDED = ("torch", "torchvision", "transformers", "safetensors", "aiohttp", "av", "yaml", "comfyui_frontend_package")

LIST_MISSING = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if not find_spec(n)))"


class NoHostError(Exception):
    """No ComfyUI can be tested with; the text says why, in one line."""


@dataclass(frozen=True)
class Host:
    """A ComfyUI that can be started: its folder and the Python that has what it needs."""

    folder: Path
    python: Path

    @property
    def version(self) -> str:
        file = self.folder / "comfyui_version.py"
        return file.read_text().split('"')[1] if file.is_file() else "of unknown version"

    def __str__(self) -> str:
        return f"ComfyUI {self.version} at {self.folder}, run by {self.python}"


def find_host(project: Path = PROJECT, home: Path | None = None) -> Host:
    """Return the first ComfyUI that can be started, or raise NoHostError with the reason."""
    folder = _find_folder(project, home or Path.home())
    return Host(folder, _find_python(folder))


def _find_folder(project: Path, home: Path) -> Path:
    if named := os.environ.get("COMFYUI_PATH"):
        folder = Path(named).expanduser().absolute()
        if not _is_comfyui(folder):
            raise NoHostError(f"COMFYUI_PATH: {folder} is no ComfyUI folder (it lacks one of {', '.join(MARKS)})")
        return folder
    places = [home / "ComfyUI", home / "comfy" / "ComfyUI"]
    if project.parent.name == "custom_nodes":
        places.insert(0, project.parent.parent)
    for place in places:
        if _is_comfyui(place):
            return place
    raise NoHostError(f"no ComfyUI at {' or '.join(map(str, places))}; set COMFYUI_PATH to its folder")


def _is_comfyui(folder: Path) -> bool:
    return all((folder / mark).is_file() for mark in MARKS)


def _find_python(folder: Path) -> Path:
    if named := os.environ.get("COMFYUI_PYTHON"):
        return _require_complete(Path(shutil.which(named) or named).expanduser().absolute(), "COMFYUI_PYTHON")
    for place in PYTHONS:
        if (python := folder / place).is_file():
            return _require_complete(python, "its own Python")
    return _require_complete(Path(sys.executable), f"no venv in {folder}, and this Python")


def _require_complete(python: Path, whose: str) -> Path:
    """Return `python` if it can import what ComfyUI needs; links stay, a venv is known by the path to its Python."""
    try:
        # Not in the project's folder: the empty entry of sys.path would find our packages instead of the host's.
        found = subprocess.run(
            [python, "-c", LIST_MISSING, *NEEDED], capture_output=True, text=True, timeout=60, check=True, cwd="/"
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoHostError(f"{whose}, {python}, does not run ({error}); set COMFYUI_PYTHON") from error
    if missing := found.stdout.split():
        raise NoHostError(
            f"{whose}, {python}, lacks {', '.join(missing)}; set COMFYUI_PYTHON to the Python that runs it"
        )
    return python


if __name__ == "__main__":
    try:
        print(find_host())
    except NoHostError as error:
        sys.exit(str(error))
