"""The reading of a list of jobs: a JSON file, its defaults put into each job, each fault kept with its number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import real_target
from ..checks import known_keys, parse_json
from ..errors import LoraCoreError, RequestError, located
from .ended import Fault
from .item import KEYS, Item


@dataclass(frozen=True)
class JobForm:
    """How the jobs of a list are written.

    Attributes:
        keys: every key of a job.
        output: the key that no default can give.
        make: (number, keys and values, folder of the outputs) -> the job.
        example: the form of the file, for messages.
    """

    keys: tuple[str, ...]
    output: str
    make: Callable[[int, Mapping[str, Any], Path], Item]
    example: str


#: The jobs of `batch`.
BATCH = JobForm(
    KEYS,
    "output",
    Item.from_json,
    '[{"prompt": "a cat runs", "output": "cat.mp4"}, …], or {"defaults": {…}, "jobs": […]}',
)
_MAX_LETTERS = 50_000_000


@dataclass(frozen=True)
class JobList:
    """The jobs of a list that can be read, in order, and the faults of the others."""

    items: tuple[Item, ...]
    faults: tuple[Fault, ...]

    @property
    def total(self) -> int:
        return len(self.items) + len(self.faults)


def read_jobs(path: str | Path, folder: str | Path = ".", form: JobForm = BATCH) -> JobList:
    """Read a list of jobs, written in a form; outputs go into `folder`.

    Raises:
        RequestError: the file is no such list; what is wrong with one job alone is among the faults.
    """
    path, folder = Path(path).expanduser(), Path(folder).expanduser()
    try:
        text = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RequestError(path, what, expected="a JSON file", remedy="Check the path") from error
    rows, defaults = _rows(parse_json(text, str(path), form.example, RequestError, most=_MAX_LETTERS), path, form)
    items: list[Item] = []
    faults: list[Fault] = []
    taken: dict[Path, int] = {}
    for number, row in enumerate(rows, 1):
        try:
            with located(f"job {number}"):
                item = _item(number, row, defaults, folder, form)
                for target in (item.output, item.record_file):
                    _claim(taken, target, number)
        except LoraCoreError as error:
            faults.append(Fault(number, error))
        else:
            items.append(item)
    return JobList(tuple(items), tuple(faults))


def _rows(rows: object, path: Path, form: JobForm) -> tuple[list[object], dict[str, Any]]:
    """Return the jobs as they are written, and the defaults of all."""
    defaults: object = {}
    if isinstance(rows, dict):
        known_keys(rows, ("defaults", "jobs"), str(path), RequestError)
        defaults, rows = rows.get("defaults", {}), rows.get("jobs")
    if not isinstance(rows, list) or not rows or not isinstance(defaults, dict):
        what = "there is no job" if rows == [] else "no list of jobs"
        raise RequestError(path, what, expected=form.example, remedy="Write a job")
    if form.output in defaults:
        what = "all jobs would write to one output"
        raise RequestError(f"{path} defaults", what, expected="an output of each", remedy="Move it into the jobs")
    known_keys(defaults, form.keys, f"{path} defaults", RequestError)
    return rows, defaults


def _item(number: int, row: object, defaults: Mapping[str, Any], folder: Path, form: JobForm) -> Item:
    if not isinstance(row, dict):
        raise RequestError("", f"{row!r:.60} is no job", expected='{"prompt": …}', remedy="Correct the row")
    own = {key: value for key, value in defaults.items() if not is_replaced(key, row)}
    return form.make(number, {**own, **row}, folder)


def is_replaced(key: str, row: Mapping[str, Any]) -> bool:
    """Say whether a job has something of its own in the place of a default: noise levels are said in one way."""
    if key in ("steps", "shift"):
        return "sigmas" in row
    return key == "sigmas" and bool({"steps", "shift"} & row.keys())


def _claim(taken: dict[Path, int], path: Path, number: int) -> None:
    target = real_target(path)
    if (other := taken.setdefault(target, number)) != number:
        raise RequestError("output", f"job {other} writes to {path} too", remedy="Give each job a name of its own")
