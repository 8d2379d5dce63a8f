"""A ComfyUI workflow in API format, filled with what a job says; the rest stays as the workflow has it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..checks import parse_json
from ..errors import RequestError
from .item import Item

#: Node id -> {"class_type": ..., "inputs": {name: value, or [node id, number of its output]}}.
Workflow: TypeAlias = dict[str, dict[str, Any]]
#: An input: the inputs of a node, and the name among them.
Place: TypeAlias = tuple[dict[str, Any], str]

#: Through which inputs a text or a picture reaches the node that reads it.
_PASSED_ON = ("positive", "negative", "conditioning", "image", "pixels")
#: Inputs that together make a node the one of the clip's size.
_SIZE = ("width", "height", "length")


def read_workflow(path: str | Path) -> Workflow:
    """Read a workflow in API format.

    Raises:
        RequestError: no file, no JSON, or the format of the canvas.
    """
    path = Path(path).expanduser()
    expected = "a workflow in API format, such as workflows/api/pocket-quickstart.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RequestError(path, what, expected=expected, remedy="Check the path") from error
    workflow = parse_json(text, str(path), expected, RequestError, most=50_000_000)
    is_workflow = isinstance(workflow, dict) and workflow and all(map(_is_node, workflow.values()))
    if not is_workflow:
        what = "is no workflow for the API"
        raise RequestError(path, what, expected=expected, remedy="Export it with Export (API) in ComfyUI's menu")
    return workflow  # type: ignore[return-value]  # looked at just now


def filled(workflow: Workflow, item: Item, picture: Callable[[Path], str]) -> Workflow:
    """Return a workflow with a job's values in it.

    Args:
        workflow: is not changed.
        item: the job.
        picture: a picture's file -> the name that the server knows it by.

    Raises:
        RequestError: something that the job says has no place in the workflow; `where` is the key.
    """
    new = copy.deepcopy(workflow)
    for key, value in item.given.items():
        if key == "output":
            continue
        values = _VALUES[key](item, value, picture) if key in _VALUES else {key: value}
        for place, number in values.items():
            _put(new, key, place, number)
    return new


def _size(item: Item, value: Any, picture: Any) -> dict[str, Any]:
    return {"width": item.request.width, "height": item.request.height}


def _picture(name: str) -> Callable[[Item, Any, Callable[[Path], str]], dict[str, Any]]:
    return lambda item, value, picture: {} if value is None else {name: picture(Path(value).expanduser())}


def _cfg(item: Item, value: Any, picture: Any) -> dict[str, Any]:
    high, low = item.request.cfg_pair()
    return {"cfg": high} if high == low else {"cfg_high": high, "cfg_low": low}


#: key of a job -> what is put into the workflow: the name of the place, see `_places`, and the value.
_VALUES: dict[str, Callable[[Item, Any, Callable[[Path], str]], dict[str, Any]]] = {
    "size": _size,
    "frames": lambda item, value, picture: {"length": value},
    "cfg": _cfg,
    "loras": lambda item, value, picture: {"loras": item.stack.to_json()},
    "scale": lambda item, value, picture: {"scale_by": value},
    "image": _picture("start_image"),
    "last_image": _picture("end_image"),
}


def _put(workflow: Workflow, key: str, name: str, value: Any) -> None:
    places = list(_places(workflow, name))
    if not places:
        what = "the workflow has no place for it"
        raise RequestError(key, what, expected=f"an input {name}", remedy="Take another workflow, or leave it out")
    for inputs, place in places:
        inputs[place] = value


def _places(workflow: Workflow, name: str) -> Iterator[Place]:
    """Yield the inputs that hold something: texts and pictures by where they lead, all else by its name."""
    if name in ("prompt", "negative_prompt"):
        link = "positive" if name == "prompt" else "negative"
        yield from _followed(workflow, link, "text")
    elif name in ("start_image", "end_image"):
        yield from _followed(workflow, name, "image")
    elif name in _SIZE:
        sized = (node["inputs"] for node in workflow.values() if {*_SIZE} <= node["inputs"].keys())
        yield from _unlinked(sized, (name,))
    else:
        names = _ALSO_CALLED.get(name, (name,))
        yield from _unlinked((node["inputs"] for node in workflow.values()), names)


#: What nodes call a thing, where that is not one name.
_ALSO_CALLED = {"seed": ("seed", "noise_seed"), "cfg": ("cfg", "cfg_high", "cfg_low")}


def _unlinked(nodes: Iterator[dict[str, Any]], names: tuple[str, ...]) -> Iterator[Place]:
    for inputs in nodes:
        yield from ((inputs, name) for name in names if name in inputs and not isinstance(inputs[name], list))


def _followed(workflow: Workflow, link: str, name: str) -> Iterator[Place]:
    """Yield the input `name` of whatever nodes' inputs `link` lead to, through those that pass it on."""
    seen: set[int] = set()
    for node in workflow.values():
        inputs, step = node["inputs"], link
        while isinstance(inputs.get(step), list):
            inputs = workflow[str(inputs[step][0])]["inputs"]
            step = next((way for way in (link, *_PASSED_ON) if isinstance(inputs.get(way), list)), "")
        if step == "" and isinstance(inputs.get(name), str) and id(inputs) not in seen and inputs is not node["inputs"]:
            seen.add(id(inputs))
            yield inputs, name


def _is_node(node: object) -> bool:
    return isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping) and "class_type" in node
