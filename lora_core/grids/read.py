"""The reading of a grid: a TOML file with the keys of a job and the axes, and what takes the place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checks import known_keys, typed
from ..errors import RequestError, located, relocated
from ..jobs.item import KEYS, Item
from ..training.config import parse_settings, read_toml
from .axis import Axis
from .grid import ENDINGS, Grid

#: Keys of a job that a grid has no use for.
_NOT_OURS = ("output",)
#: Keys whose values are paths; those of axes are read with their folder.
_PATHS = ("image", "last_image", "stack")
#: Every key of a grid.
GRID_KEYS = (*(key for key in KEYS if key not in _NOT_OURS), "columns", "rows", "ending")


@typed(RequestError)
def read_grid(path: str | Path, settings: Iterable[str] = (), **given: Any) -> Grid:
    """Read a grid from a TOML file; `settings` of the form key=value, and `given` keys, take the place of its own.

    Relative paths are taken from where the file lies.

    Raises:
        LoraCoreError: it cannot be read, has a key that there is not, or a value that cannot be.
    """
    path = Path(path)
    with located(path.name):
        values = read_toml_of_grid(path)
        return grid_from(values | settings_of(settings) | given)


def read_toml_of_grid(path: Path) -> dict[str, Any]:
    """Return the keys of a file, paths seen from its folder."""
    with relocated(lambda where: "" if where == str(path) else where):
        values = read_toml(path)
    return with_paths(values, path.parent)


def settings_of(settings: Iterable[str]) -> dict[str, Any]:
    """Return key -> value of texts `key=value`, as TOML has them; texts need no quotation marks."""
    kinds = dict.fromkeys(("prompt", "negative_prompt", "size", "solver", "radial", "columns", "rows", "ending"), str)
    return parse_settings(settings, kinds)


def with_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return keys with the paths that lead somewhere from a folder made whole, and the axes read."""
    whole = {key: _whole(value, folder) if key in _PATHS else value for key, value in values.items()}
    rows = whole.get("loras")
    if isinstance(rows, list):
        whole["loras"] = [_row(row, folder) for row in rows]
    for name in ("columns", "rows"):
        if name in whole:
            with located(name):
                whole[name] = Axis.from_json(whole[name], folder)
    return whole


def grid_from(values: Mapping[str, Any], *, also: Iterable[str] = ()) -> Grid:
    """Return the grid that keys and their values describe; `also` are keys that somebody else has read already.

    Raises:
        LoraCoreError: an unknown key, or a value that cannot be; `where` is the key.
    """
    known_keys(map(str, values), (*GRID_KEYS, *also), "", RequestError)
    if "columns" not in values:
        expected = 'columns = "seed = 1 | 2 | 3"'
        raise RequestError("columns", "there is none", expected=expected, remedy="Say what differs between the columns")
    axes: dict[str, Axis | None] = {"columns": None, "rows": None}
    for name in axes.keys() & values.keys():
        axis = values[name]
        with located(name):
            axes[name] = axis if isinstance(axis, Axis) else Axis.from_json(axis)
    job = {key: value for key, value in values.items() if key in KEYS}
    if "prompt" not in job and (of_prompts := next((a for a in axes.values() if a and a.kind == "prompt"), None)):
        job["prompt"] = of_prompts.values[0]
    item = Item.from_json(1, job, Path())
    return Grid(
        item.request,
        item.stack,
        axes["columns"],  # type: ignore[arg-type]  # it is there
        axes["rows"],
        item.radial,
        values.get("ending", ENDINGS[0]),
        item.scale if "scale" in values else None,
    )


def _whole(value: Any, folder: Path) -> Any:
    is_path = isinstance(value, str) and value.strip() != ""
    return str((folder / value).absolute()) if is_path and (folder / value).exists() else value


def _row(row: Any, folder: Path) -> Any:
    if not isinstance(row, Mapping):
        return _whole(row, folder)
    return {key: _whole(value, folder) if key in ("path", "low_noise_path") else value for key, value in row.items()}
