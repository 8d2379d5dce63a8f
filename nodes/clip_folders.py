"""The folders of clips that the server may read, and how they are chosen.

Below ComfyUI's input folder they are listed; so are those below the folders that `extra_model_paths.yaml` gives under
`wanloom_clips`, for clips that lie elsewhere. A path may also lead below ComfyUI's output and temp folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ..lora_core.errors import DatasetError
from ..lora_core.training.clips.layout import NO_CLIPS, is_clip, natural, read_layout
from ..lora_core.wording import said

EXAMPLES = "example clips (built in)"
#: The name of a model folder, for the yaml file in which ComfyUI's users say where theirs are.
EXTRA = "wanloom_clips"
_EXAMPLES_FOLDER = Path(__file__).parents[1] / "examples" / "clips"
_MAX_DEPTH = 4


def clip_folders() -> list[str]:
    """Return what can be chosen: the clips that come with WanLoom, then every folder that holds clips itself."""
    found = dict.fromkeys(name for root in _roots() for name in sorted(_folders_below(root), key=natural))
    return [EXAMPLES, *found]


def clips_folder(choice: str, path: str = "") -> Path:
    """Return the folder that a choice stands for, or a path where one is given, refusing what the server may not read.

    A relative path begins at ComfyUI's input folder. A link counts as what it is called, not as what it points to.
    """
    if path.strip():
        return _allowed(path.strip())
    if choice == EXAMPLES:
        return _EXAMPLES_FOLDER
    found = next((root / choice for root in _roots() if (root / choice).is_dir()), _roots()[0] / choice)
    return _allowed(str(found))


def checked_folder(choice: str, path: str = "") -> Path:
    """Return the folder, which holds clips; no file is opened."""
    folder = clips_folder(choice, path)
    read_layout(folder)
    return folder


def files_in(folder: Path) -> list[Path]:
    """Return the clips and captions of a folder."""
    layout = read_layout(folder)
    return [folder / name for name in (*layout.clips, *layout.texts, *layout.lists)]


def _roots() -> list[Path]:
    extra = folder_paths.get_folder_paths(EXTRA) if EXTRA in folder_paths.folder_names_and_paths else []
    return [Path(os.path.abspath(root)) for root in (folder_paths.get_input_directory(), *extra)]


def _allowed(path: str) -> Path:
    folder = Path(os.path.abspath(_roots()[0] / Path(path).expanduser()))
    others = (folder_paths.get_output_directory(), folder_paths.get_temp_directory())
    roots = [*_roots(), *(Path(os.path.abspath(other)) for other in others)]
    if not any(folder.is_relative_to(root) for root in roots):
        what = "is outside of the folders that ComfyUI may read"
        remedy = said("Put the clips there, or name their folder as {extra} in extra_model_paths.yaml", extra=EXTRA)
        raise DatasetError(path, what, expected="a folder in ComfyUI's input, output or temp", remedy=remedy)
    return folder


def _folders_below(root: Path) -> Iterator[str]:
    for path, folders, files in os.walk(root, followlinks=True):
        inside = Path(path).relative_to(root)
        folders[:] = [name for name in folders if not name.startswith(".") and len(inside.parts) < _MAX_DEPTH]
        if NO_CLIPS in files:
            folders.clear()
        elif inside.parts and any(map(is_clip, files)):
            yield inside.as_posix()
