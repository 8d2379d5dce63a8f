"""What goes wrong, as a page may know it: without where the server keeps its folders, and sayable in its language."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import folder_paths

from ..lora_core import LoraCoreError
from ..lora_core.families.wan.pocket import pocket_paths
from ..lora_core.wording import Said, form_of, with_values

#: The event of the websocket; its data are an error's text, and the form to say it by in another language.
EVENT = "wanloom.fault"
Result = TypeVar("Result")


def told(execute: Callable[..., Result]) -> Callable[..., Result]:
    """Let an error of ours be one for the page, which hears of it before the host tells of its text."""

    @functools.wraps(execute)
    def telling(*args: object, **inputs: object) -> Result:
        try:
            return execute(*args, **inputs)
        except LoraCoreError as error:
            shown = for_page(error)
            tell(shown)
            raise shown from error

    return telling


def tell(error: LoraCoreError) -> None:
    """Tell every page how to say an error."""
    from server import PromptServer  # no module of ours may need it to be imported

    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_sync(EVENT, {"text": str(error), "said": form_of(error.said)})


def for_page(error: LoraCoreError) -> LoraCoreError:
    """Return an error that names the host's folders as the host does."""
    return error.retold(without_paths)


def without_paths(text: str) -> str:
    """Return a text in which a path in a folder of the host's begins with that folder's name: `loras/x.safetensors`."""
    if not isinstance(text, Said):
        return _shortened(text)
    return Said(_shortened(text), with_values(text.form, _shortened))


def _shortened(text: str) -> str:
    if "/" not in text and "\\" not in text:
        return str(text)
    for folder, name in sorted(_folders(), key=lambda one: -len(one[0])):
        text = re.sub(rf"{re.escape(folder)}(?=[/\\]|[^\w.-]|$)", lambda _, name=name: name, text)
    return text


def _folders() -> Iterator[tuple[str, str]]:
    """Yield the host's folders, as they were named and as what they point to, and what to call them."""
    own = [
        folder_paths.get_input_directory(),
        folder_paths.get_output_directory(),
        folder_paths.get_temp_directory(),
        folder_paths.get_user_directory(),
        folder_paths.models_dir,
        pocket_paths().loras.parent,
        *(folder for folders, _ in folder_paths.folder_names_and_paths.values() for folder in folders),
    ]
    called = [(Path(folder), Path(folder).name) for folder in own]
    called += [(Path(tempfile.gettempdir()), "temp"), (Path(folder_paths.base_path), "ComfyUI")]
    for folder, name in called:
        if name:
            yield from ((named, name) for named in {os.path.abspath(folder), os.path.realpath(folder)})
