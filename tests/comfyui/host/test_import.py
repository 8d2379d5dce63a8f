"""The extension as ComfyUI imports it: what it brings in, and how long that takes."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

#: Of a start that finds its bytecode; the first one after an install, which compiles, takes three times as long.
SECONDS_ALLOWED = 0.15
HEAVY = {"diffusers", "peft", "accelerate", "matplotlib", "imageio"}
#: What reads and writes files; a host imports it when a graph is run.
LATER = {"files.read", "files.dialects", "files.write", "files.plot", "media.video", "families.wan.open"}

# What a running ComfyUI has imported before it comes to custom nodes; then the extension, timed.
TIMED_IMPORT = """
import asyncio, importlib.util, sys, time
sys.path.insert(0, sys.argv.pop(1))
link = sys.argv.pop(1)
import comfy.options
comfy.options.enable_args_parsing()
import nodes, comfy_api.latest
asyncio.run(nodes.init_builtin_extra_nodes())
before = set(sys.modules)
start = time.process_time()
assert asyncio.run(nodes.load_custom_node(link)), "the extension did not load"
print(time.process_time() - start, *sorted(set(sys.modules) - before))
"""


def import_in_a_new_process(wanloom: ModuleType) -> tuple[float, set[str]]:
    """Return the seconds ComfyUI's own loader computes for the extension, and the modules that came with it."""
    link = Path(wanloom.__file__).parent
    arguments = [os.environ["COMFYUI_PATH"], str(link), "--cpu", "--base-directory", str(link.parents[1])]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(link.parents[1] / "bytecode")
    command = [sys.executable, "-c", TIMED_IMPORT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)
    assert done.returncode == 0, done.stderr
    seconds, *modules = done.stdout.split()
    return float(seconds), set(modules)


def test_the_extension_adds_less_than_0_15_seconds_and_no_diffusers(wanloom: ModuleType) -> None:
    starts = [import_in_a_new_process(wanloom) for _ in range(4)]
    assert min(seconds for seconds, _ in starts) < SECONDS_ALLOWED
    for _, modules in starts:
        assert not HEAVY & {module.split(".")[0] for module in modules}
        assert not LATER & {module.partition(".lora_core.")[2] for module in modules}


def test_comfyuis_nodes_are_comfyuis(wanloom: ModuleType) -> None:
    import nodes

    assert Path(nodes.__file__).parent == Path(os.environ["COMFYUI_PATH"])
    assert callable(wanloom.comfy_entrypoint)
