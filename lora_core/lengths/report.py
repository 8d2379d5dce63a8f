"""The report of an evaluation, Markdown with pictures, made from the table of what was found and the videos."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..checks import counted
from ..comparison.folder import write_json
from ..comparison.report import IMAGES, check_report
from .folder import LengthsFolder
from .plots import save_pictures
from .sheet import save_sheet
from .tables import Data, explained, kept_table, length_tables

#: Picture -> what it is called for those who cannot see it.
PICTURES = {
    "videos": "The same prompt and seed, length by length, in every way",
    "meaning": "Colour, shape and path as asked, by length",
    "figures": "Consistency, flicker, motion, drift and repetition by length",
    "cost": "Time and memory by length",
}


def write_report(data: Data, path: str | Path, folder: LengthsFolder, *, title: str = "") -> Path:
    """Write the report, the table it is made from, and its pictures, into `images` beside it.

    Args:
        data: what `collect` returns.
        path: the .md to write.
        folder: the evaluation's own, whose videos the sheet shows.
        title: the heading.
    """
    path = Path(path)
    check_report(path)
    images = path.parent / IMAGES
    pictures = set(save_pictures(data, images))
    if save_sheet(data, folder, images / "lengths-videos.png") is not None:
        pictures.add("videos")
    write_json(data, path.with_suffix(".json"))
    write_text(report_text(data, pictures, title=title), path)
    return path


def report_text(data: Data, pictures: Collection[str], *, title: str = "") -> str:
    """Return the report as Markdown, with those pictures that there are."""
    return "\n".join(_lines(data, pictures, title or "One model at several lengths")).rstrip() + "\n"


def _lines(data: Data, pictures: Collection[str], title: str) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    yield from _opening(data)
    yield from _picture(pictures, "videos")
    yield from kept_table(data)
    yield from _picture(pictures, "meaning")
    yield from length_tables(data)
    yield from _picture(pictures, "figures")
    yield from _picture(pictures, "cost")
    yield from _notes(data)
    yield from explained(data)
    yield from _machine(data)


def _opening(data: Data) -> Iterator[str]:
    asked = data["asked"]
    if not asked:
        return
    width, height = asked["size"]
    cfg = asked["cfg"] if isinstance(asked["cfg"], (int, float)) else ", ".join(f"{value:g}" for value in asked["cfg"])
    parts = [
        f"{asked['model']}, {width}x{height} at {asked['fps']:g} frames per second, {counted(asked['steps'], 'step')}, "
        f"guidance {cfg}, shift {asked['shift']:g}, in {asked['dtype']} on {asked['device']}; "
        f"{counted(len(asked['prompts']), 'prompt')}, each with a seed of its own that is the same in every way."
    ]
    for name, text in (("lora", "LoRAs that are evaluated"), ("common", "LoRAs that act in all")):
        if asked[name]:
            parts.append(f"{text}: {', '.join(_lora(row) for row in asked[name])}.")
    yield " ".join(parts)
    yield ""


def _notes(data: Data) -> Iterator[str]:
    """Yield what was noticed about LoRAs, prompts and settings while the videos were made."""
    if data["notes"]:
        yield "## Noticed"
        yield ""
        yield from (f"- {note}" for note in data["notes"])
        yield ""


def _lora(row: dict[str, Any]) -> str:
    hashes = " ".join(f"`{row[key][:12]}`" for key in ("sha256", "low_noise_sha256") if row.get(key))
    return f"{row['name']} at {row['weight']:g} {hashes}".rstrip()


def _picture(pictures: Collection[str], name: str) -> Iterator[str]:
    if name in pictures:
        yield f"![{PICTURES[name]}]({IMAGES}/lengths-{name}.png)"
        yield ""


def _machine(data: Data) -> Iterator[str]:
    environment = data.get("environment")
    if not environment:
        return
    machine = environment["machine"]
    devices = ", ".join(device["name"] for device in environment["devices"]) or "no GPU"
    threads = counted(environment["torch"]["num_threads"], "thread")
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    yield "## Machine and versions"
    yield ""
    yield f"- {machine['processor']}, {counted(machine['num_cores_allowed'], 'core')}, {threads}; {devices}"
    yield f"- Python {environment['python']}, {packages}"
    if data.get("host"):
        yield f"- ComfyUI {data['host']}, where it says so"
    yield f"- written {data['written']}; the numbers in full are in the .json beside this file"
    yield ""
