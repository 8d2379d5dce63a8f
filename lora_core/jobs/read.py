"""The reading of a list of jobs: a JSON file, its defaults put into each job, each fault kept with its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import real_target
from ..checks import known_keys, parse_json
from ..errors import LoraCoreError, RequestError, located
from .ended import Fault
from .item import KEYS, Item

#: The form of the file, for messages.
FORM = '[{"prompt": "a cat runs", "output": "cat.mp4"}, …], or {"defaults": {…}, "jobs": […]}'
_MAX_LETTERS = 50_000_000


@dataclass(frozen=True)
class JobList:
    """The jobs of a list that can be read, in order, and the faults of the others."""

    items: tuple[Item, ...]
    faults: tuple[Fault, ...]

    @property
    def total(self) -> int:
        return len(self.items) + len(self.faults)


def read_jobs(path: str | Path, folder: str | Path = ".") -> JobList:
    """Read a list of jobs; outputs go into `folder`.

    Raises:
        RequestError: the file is no such list; what is wrong with one job alone is among the faults.
    """
    path, folder = Path(path).expanduser(), Path(folder).expanduser()
    try:
        text = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RequestError(path, what, expected="a JSON file", remedy="Check the path") from error
    rows, defaults = _rows(parse_json(text, str(path), FORM, RequestError, most=_MAX_LETTERS), path)
    items: list[Item] = []
    faults: list[Fault] = []
    taken: dict[Path, int] = {}
    for number, row in enumerate(rows, 1):
        try:
            with located(f"job {number}"):
                item = _item(number, row, defaults, folder)
                for target in (item.output, item.record_file):
                    _claim(taken, target, number)
        except LoraCoreError as error:
            faults.append(Fault(number, error))
        else:
            items.append(item)
    return JobList(tuple(items), tuple(faults))


def _rows(form: object, path: Path) -> tuple[list[object], dict[str, Any]]:
    """Return the jobs as they are written, and the defaults of all."""
    defaults: object = {}
    if isinstance(form, dict):
        known_keys(form, ("defaults", "jobs"), str(path), RequestError)
        defaults, form = form.get("defaults", {}), form.get("jobs")
    if not isinstance(form, list) or not form or not isinstance(defaults, dict):
        what = "there is no job" if form == [] else "no list of jobs"
        raise RequestError(path, what, expected=FORM, remedy="Write a job")
    if "output" in defaults:
        what = "all jobs would write to one output"
        raise RequestError(f"{path} defaults", what, expected="an output of each", remedy="Move it into the jobs")
    known_keys(defaults, KEYS, f"{path} defaults", RequestError)
    return form, defaults


def _item(number: int, row: object, defaults: Mapping[str, Any], folder: Path) -> Item:
    if not isinstance(row, dict):
        raise RequestError("", f"{row!r:.60} is no job", expected='{"prompt": …}', remedy="Correct the row")
    own = {key: value for key, value in defaults.items() if not _is_replaced(key, row)}
    return Item.from_json(number, {**own, **row}, folder)


def _is_replaced(key: str, row: Mapping[str, Any]) -> bool:
    """Say whether a job has something of its own in the place of a default: noise levels are said in one way."""
    if key in ("steps", "shift"):
        return "sigmas" in row
    return key == "sigmas" and bool({"steps", "shift"} & row.keys())


def _claim(taken: dict[Path, int], path: Path, number: int) -> None:
    target = real_target(path)
    if (other := taken.setdefault(target, number)) != number:
        raise RequestError("output", f"job {other} writes to {path} too", remedy="Give each job a name of its own")
