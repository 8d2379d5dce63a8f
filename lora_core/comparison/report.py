"""The report of a comparison, Markdown with pictures, made from the table of what was found and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from ..atomic import check_target, replacing, write_text
from ..checks import counted
from ..errors import OutputError
from .cells import first
from .folder import write_json
from .plots import TITLES, save_pictures
from .report_parts import machine_rows, not_over
from .settings import ENOUGH
from .sheet import SHEET
from .tables import (
    Data,
    bases_table,
    expected_table,
    kept_table,
    losses_table,
    methods_table,
    sweep_table,
    trainings_table,
)

#: Where a report's pictures lie, beside it.
IMAGES = "images"
#: Picture -> what it is called for those who cannot see it.
PICTURES = {
    "videos": "The same prompts and noise, by the base and by each method",
    "loss": "Held-out losses of both experts, method by method",
    "learnt": "What was learnt against what else has moved",
    "rates": "Held-out loss by learning rate",
}


def write_report(data: Data, path: str | Path, folder: str | Path) -> Path:
    """Write the report, the table it is made from, and its pictures, into `images` beside it.

    Args:
        data: what `comparison.json` holds.
        path: the .md to write.
        folder: the comparison's own, from which the sheet of videos is copied.
    """
    path, folder = Path(path), Path(folder)
    check_report(path)
    images = path.parent / IMAGES
    pictures = set(save_pictures(data, images))
    sheet, copied = folder / IMAGES / SHEET, images / SHEET
    if sheet.is_file():
        pictures.add("videos")
        if sheet.resolve() != copied.resolve():
            with replacing(copied) as temporary:
                shutil.copyfile(sheet, temporary)
    write_json(data, path.with_suffix(".json"))
    write_text(report_text(data, [name for name in PICTURES if name in pictures]), path)
    return path


def report_text(data: Data, pictures: Collection[str]) -> str:
    """Return the report as Markdown, with those pictures that there are."""
    return "\n".join(_lines(data, pictures)).rstrip() + "\n"


def check_report(path: str | Path) -> None:
    """Raise what `write_report` would raise for this path, before any work is done."""
    if Path(path).suffix.lower() != ".md":
        what, remedy = f"cannot write a report as {Path(path).suffix!r}", "Let its name end in .md"
        raise OutputError(path, what, expected="Markdown", remedy=remedy)
    check_target(path)


def _lines(data: Data, pictures: Collection[str]) -> Iterator[str]:
    yield "# Full training, LoRA and QLoRA side by side"
    yield ""
    yield from _opening(data)
    yield from _in_short(data)
    yield from _picture(pictures, "videos")
    yield from methods_table(data)
    yield from losses_table(data)
    yield from _picture(pictures, "loss")
    yield from _picture(pictures, "learnt")
    yield from bases_table(data)
    yield from kept_table(data)
    yield from sweep_table(data)
    yield from _picture(pictures, "rates")
    yield from expected_table(data)
    yield from _not_swept(data)
    yield from trainings_table(data)
    yield from _machine(data)


def _opening(data: Data) -> Iterator[str]:
    config, base = data["config"], data["base"]
    yield from not_over(data)
    if not base:
        return
    table = config["compare"]
    steps = max((row["steps"] for row in data["runs"]), default=0)
    yield (
        f"{base['model']}, {base['num_trained']} clips to train on and {base['num_held_out']} held out, "
        f"{counted(steps, 'step')} of both experts together, in {base['dtype']} on {_device(data)}. All see the "
        "same clips, split, steps and distribution of noise levels, and with one seed the same batches and noise. "
        f"Learning rates are swept with seed {table['seeds'][0]}; the best of each method by held-out loss is "
        f"repeated with {counted(len(table['seeds']) - 1, 'other seed')}. Each training is a process of its own. "
        f"Held-out losses are taken of the written files, on {counted(base['num_measured'], 'clip')} that none has "
        "seen, with the same noise and levels for all."
    )
    yield ""


def _in_short(data: Data) -> Iterator[str]:
    """Yield what came out, in few words."""
    losses = {method: first(summary["held_out"])["mean"] for method, summary in data["methods"].items()}
    means = {method: spread["mean"] for method, spread in losses.items() if spread}
    if not means:
        return
    best = min(means, key=means.__getitem__)
    others = [f"{TITLES[m]} {100 * (mean / means[best] - 1):.1f} % more" for m, mean in means.items() if m != best]
    yield f"- **Held-out loss**: {TITLES[best]} loses least" + (f", {', '.join(others)}." if others else ".")
    yield from _costs(data)
    plain, packed = (data["methods"].get("qlora", {}).get("held_out", {}).get(base) for base in ("plain", "packed"))
    if plain and packed and plain["mean"] and packed["mean"]:
        change = 100 * (plain["mean"]["mean"] / packed["mean"]["mean"] - 1)
        more = f"{abs(change):.1f} % {'more' if change > 0 else 'less'}"
        yield f"- **QLoRA's adapter on the base as it was before packing** loses {more} than on the packed one."
    held = [row["held"] for row in data["expected"]]
    yield (
        f"- **Of {len(held)} figures that were expected** {held.count(True)} have held, {held.count(False)} have not, "
        f"and {held.count(None)} cannot be told."
    )
    yield ""


def _costs(data: Data) -> Iterator[str]:
    """Yield what an adapter takes of what all weights take."""
    full = data["methods"].get("full")
    words = {"num_weights": "the weights", "tensor_bytes": "the memory", "seconds_of_fast_steps": "the time of a step"}
    for method, summary in data["methods"].items():
        if full is None or summary is full:
            continue
        shares = [
            f"{100 * summary[name] / full[name]:.0f} % of {text}"
            for name, text in words.items()
            if summary[name] and full[name]
        ]
        if shares:
            yield f"- **{TITLES[method]}** takes {', '.join(shares)} of full training."


def _device(data: Data) -> str:
    devices = data["environment"].get("devices") or []
    if data["base"]["device"] == "cuda" and devices:
        return str(devices[0]["name"])
    threads = data["environment"]["torch"]["num_threads"]
    return f"the CPU ({counted(threads, 'thread')})"


def _picture(pictures: Collection[str], name: str) -> Iterator[str]:
    if name in pictures:
        yield f"![{PICTURES[name]}]({IMAGES}/comparison-{name}.png)"
        yield ""


def _not_swept(data: Data) -> Iterator[str]:
    table, config = data["config"]["compare"], data["config"]
    few = [TITLES[method] for method, rates in table["rates"].items() if len(rates) < ENOUGH]
    edges = [TITLES[method] for method, summary in data["methods"].items() if summary["is_at_edge"]]
    yield "## What was not swept"
    yield ""
    text = [
        "Only the learning rate was swept, and only with the first seed. Rank, alpha and targets of the adapters, the "
        "optimiser and its decay, the schedule and the number of steps, batch size, noise levels and the number of "
        "clips are the same for all, and may suit one method better than another."
    ]
    if config.get("preset"):
        text.append(f"They are those of the preset `{config['preset']}`, which was made for LoRAs.")
    if few:
        text.append(f"Of {', '.join(few)} fewer than {ENOUGH} rates were tried, which is no sweep.")
    if edges:
        text.append(
            f"The best rate of {', '.join(edges)} is the first or the last that was tried; a better one may lie beyond."
        )
    if len(table["seeds"]) < ENOUGH:
        text.append(f"With {counted(len(table['seeds']), 'seed')} the spread says little.")
    if not table["drift_prompts"]:
        text.append("No drift was measured, for no prompts were given for it.")
    text.append("QLoRA was trained on one packing alone. Energy was not measured.")
    yield " ".join(text)
    yield ""


def _machine(data: Data) -> Iterator[str]:
    environment, base = data["environment"], data["base"]
    if not environment:
        return
    files = ", ".join(f"{row['file']} `{row['sha256'][:12]}`" for row in base["files"].values())
    yield from machine_rows(environment)
    yield f"- the model's files (sha256): {files}"
    yield f"- clips and model together: `{base['digest'][:12]}`"
    yield f"- written {data['written']}, from `comparison.json`, which has every number in full"
    yield ""
