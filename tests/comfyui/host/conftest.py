"""The inside of a ComfyUI for the tests here: its modules, and the extension imported as the package `wanloom`.

These tests run in ComfyUI's own Python: `make test-comfyui`, or `python tests/comfyui/run.py host -k words` for some.
A test may write, at its top or inside:

    import comfy.model_patcher              # any module of ComfyUI, on the CPU
    import nodes                            # ComfyUI's nodes.py, never this project's nodes/
    from wanloom.nodes import bridge        # the extension, by relative imports, as ComfyUI imports it
    from wanloom.lora_core import LoraStack # its core; `import lora_core` would make a second copy of every class

ComfyUI's base folder is a temporary one: `folder_paths.get_folder_paths("loras")[0]` is empty and may be written to.
The repository's root is not on sys.path, and must not be: its nodes/ would hide ComfyUI's nodes.py.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).absolute().parents[3]
FOLDERS = ("custom_nodes", "input", "output", "user", "models/loras", "models/diffusion_models", "models/vae")
BASE = Path(tempfile.mkdtemp(prefix="wanloom-host-"))


def make_base() -> None:
    for folder in FOLDERS:
        (BASE / folder).mkdir(parents=True, exist_ok=True)
    (BASE / "custom_nodes" / "wanloom").symlink_to(PROJECT, target_is_directory=True)


def enter_comfyui(folder: str) -> None:
    """Make ComfyUI's modules importable, with the arguments of a start on the CPU in the temporary folder."""
    sys.path.insert(0, folder)
    import comfy.options

    started_with = sys.argv
    sys.argv = ["main.py", "--cpu", "--base-directory", str(BASE), "--database-url", "sqlite:///:memory:"]
    comfy.options.enable_args_parsing()
    import comfy.cli_args  # reads sys.argv when it is imported, once

    comfy.options.enable_args_parsing(False)
    sys.argv = started_with


def import_extension() -> ModuleType:
    """Import the extension's folder in custom_nodes as a package, from its file, as ComfyUI does."""
    folder = BASE / "custom_nodes" / "wanloom"
    spec = importlib.util.spec_from_file_location("wanloom", folder / "__init__.py")
    sys.modules["wanloom"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package


def pytest_unconfigure() -> None:
    shutil.rmtree(BASE, ignore_errors=True)


if not os.environ.get("COMFYUI_PATH"):
    pytest.exit("these tests run inside ComfyUI's Python: start them with tests/comfyui/run.py", returncode=1)
make_base()
enter_comfyui(os.environ["COMFYUI_PATH"])
EXTENSION = import_extension()


@pytest.fixture(scope="session")
def wanloom() -> ModuleType:
    """The extension as ComfyUI imports it."""
    return EXTENSION
