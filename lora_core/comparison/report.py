"""The report of a comparison, Markdown with pictures, made from the table of what was found and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import check_target, replacing, write_text
from ..checks import counted
from ..errors import OutputError
from .folder import write_json
from .plots import TITLES, save_pictures
from .settings import ENOUGH
from .sheet import SHEET

Data = Mapping[str, Any]
Summary = Mapping[str, Any]

#: Where a report's pictures lie, beside it.
IMAGES = "images"
#: Picture -> what it is called for those who cannot see it.
PICTURES = {
    "videos": "The same prompts and noise, by the base and by each method",
    "loss": "Held-out losses of both experts, method by method",
    "learnt": "What was learnt against what else has moved",
    "rates": "Held-out loss by learning rate",
}
_MIB = 2**20
_HELD = {True: "held", False: "**not held**", None: "cannot be told"}


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
        raise OutputError(path, f"cannot write a report as {Path(path).suffix!r}", expected=".md")
    check_target(path)


def _lines(data: Data, pictures: Collection[str]) -> Iterator[str]:
    yield "# Full training, LoRA and QLoRA side by side"
    yield ""
    yield from _opening(data)
    yield from _in_short(data)
    yield from _picture(pictures, "videos")
    yield from _table(data)
    yield from _per_expert(data)
    yield from _picture(pictures, "loss")
    yield from _picture(pictures, "learnt")
    yield from _other_base(data)
    yield from _kept(data)
    yield from _sweep(data)
    yield from _picture(pictures, "rates")
    yield from _expected(data)
    yield from _not_swept(data)
    yield from _trainings(data)
    yield from _machine(data)


def _opening(data: Data) -> Iterator[str]:
    config, base = data["config"], data["base"]
    if not data["is_over"]:
        missing = [row["name"] for row in data["runs"] if row["state"] in ("begun", "not begun")]
        lacking = counted(len(missing), "training") if missing else "nothing but videos"
        yield f"*This comparison is not over: {lacking} and what follows from it is missing.*"
        yield ""
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
    losses = {method: _first(summary["held_out"])["mean"] for method, summary in data["methods"].items()}
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


def _table(data: Data) -> Iterator[str]:
    """Yield what each method costs and leads to."""
    methods = data["methods"]
    if not methods:
        return
    yield from _rows(["", *(TITLES[method] for method in methods)], _summary_rows(data, list(methods.values())))
    yield (
        "Numbers with ± are means over the seeds with their 95 % t-interval. Tensors: the most that they have held at "
        "once while one expert is trained, weights included, which is what a device has to hold. System: the whole "
        "process, libraries and mapped files included. Beside other programs the median step tells little; the fastest "
        "quarter of the steps of the fastest training, and the processor's own time, tell more. Moved: the root mean "
        "square of how far the latents lie from the base's on the same noise, in deviations of the base's."
    )
    yield ""


def _summary_rows(data: Data, methods: Sequence[Summary]) -> Iterator[list[str]]:
    def row(title: str, read: Callable[[Summary], str]) -> list[str]:
        return [title, *(read(summary) for summary in methods)]

    yield row("best learning rate", lambda s: f"{s['lr']:g}")
    yield row("seeds", lambda s: str(s["num_seeds"]))
    yield row("weights that learn", lambda s: _whole(s["num_weights"]))
    yield row("tensors, MiB", lambda s: _mib(s["tensor_bytes"]))
    if any(summary["device_bytes"] for summary in methods):
        yield row("device at the peak, MiB", lambda s: _mib(s["device_bytes"]))
    yield row("system at the peak, MiB", lambda s: _mib(s["system_bytes"]))
    yield row("a step, median, s", lambda s: _seconds(s["seconds_per_step"], 3))
    yield row("a step, fastest quarter, s", lambda s: _seconds(s["seconds_of_fast_steps"], 3))
    yield row("a training, s", lambda s: _seconds(s["seconds"]))
    yield row("a training, s of the processor", lambda s: _seconds(s["processor_seconds"]))
    yield row("files, MiB", lambda s: _mib(s["file_bytes"]))
    yield row("held-out loss", lambda s: _pm(_first(s["held_out"])["mean"], 4))
    yield row(f"learnt: {data['score']}", lambda s: _pm(_first(s["judged"])["score"], 2))
    yield row("other prompts: moved", lambda s: _pm(_first(s["judged"])["moved"], 3))


def _per_expert(data: Data) -> Iterator[str]:
    methods = data["methods"]
    if not methods:
        return
    yield "## Held-out loss by expert"
    yield ""
    before = data["base"].get("held_out", {})
    experts = list(next(iter(before.values()), {}))
    rows = [
        [f"the base alone, {_base(data, base)}", *(f"{losses[e]:.4f}" for e in experts)]
        for base, losses in before.items()
    ]
    for method, summary in methods.items():
        for base, losses in summary["held_out"].items():
            rows.append([_on(data, method, base), *(_range(losses.get(expert)) for expert in experts)])
    yield from _rows(["", *(f"{expert.replace('_', '-')} expert" for expert in experts)], rows)
    yield "Mean ± 95 % t-interval over the seeds, and in brackets the least and the most."
    yield ""


def _other_base(data: Data) -> Iterator[str]:
    """Yield how a QLoRA does on either base."""
    summary = data["methods"].get("qlora")
    if summary is None:
        return
    yield "## QLoRA on either base"
    yield ""
    rows = [
        [
            _base(data, base) + (", as trained" if base == "packed" else ""),
            _pm(losses["mean"], 4),
            _pm(summary["judged"][base]["score"], 2),
            _pm(summary["judged"][base]["moved"], 3),
        ]
        for base, losses in summary["held_out"].items()
    ]
    yield from _rows(["the base under the adapter", "held-out loss", "learnt", "moved"], rows)
    alone = data["videos"].get("base-packed")
    if alone is not None and alone["moved"] is not None:
        yield f"Packing alone, without an adapter, has moved the other prompts by {alone['moved']:.3f}."
        yield ""


def _kept(data: Data) -> Iterator[str]:
    """Yield what of other prompts still comes out as asked."""
    titles, before = data["kept"], data["videos"].get("base-plain")
    if not titles or before is None or all(value is None for value in before["kept"].values()):
        return
    yield "## Other prompts"
    yield ""
    rows = [["the base alone", *(_percent(before["kept"][name]) for name in titles)]]
    for method, summary in data["methods"].items():
        for base, judged in summary["judged"].items():
            if judged["kept"]:
                means = [judged["kept"][name] for name in titles]
                rows.append([_on(data, method, base), *(_percent(mean and mean["mean"]) for mean in means)])
    yield from _rows(["", *titles.values()], rows)


def _sweep(data: Data) -> Iterator[str]:
    seed = data["config"]["compare"]["seeds"][0]
    swept = [row for row in data["runs"] if row["seed"] == seed]
    yield "## The sweep of the rates"
    yield ""
    rows = []
    for row in swept:
        losses = _first(row["held_out"]) if row["held_out"] else {}
        text = ", ".join(f"{expert.replace('_', '-')} {loss:.4f}" for expert, loss in losses.items())
        is_best = data["best"].get(row["method"]) == row["lr"]
        why = f": {row['why']}" if row["why"] else ""
        rows.append(
            [TITLES[row["method"]], f"{row['lr']:g}", text or f"{row['state']}{why}", "best" if is_best else ""]
        )
    yield from _rows(["method", "rate", "held-out loss", ""], rows)


def _expected(data: Data) -> Iterator[str]:
    yield "## What was expected"
    yield ""
    yield (
        "Figures of the field, put into limits before anything was trained: PEFT's method comparison, torchtune's "
        "tables, QLoRA (arXiv 2305.14314), *LoRA Learns Less and Forgets Less* (arXiv 2405.09673), *LoRA Without "
        "Regret*. They are of models a thousand times larger and more; where ours differ, the table says so."
    )
    yield ""
    rows = [[row["name"], row["says"], row["ours"], _HELD[row["held"]]] for row in data["expected"]]
    yield from _rows(["", "expected", "ours", ""], rows)


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


def _trainings(data: Data) -> Iterator[str]:
    yield "## The trainings"
    yield ""
    rows = []
    for row in data["runs"]:
        hashes = " ".join(f"`{file['sha256'][:12]}`" for file in row["files"].values())
        took = _seconds(row["seconds_per_step"], 3)
        rows.append(
            [row["name"], row["state"], took, _mib(row["system_bytes"]), f"`{row['config_sha256'][:12]}`", hashes]
        )
    yield from _rows(["training", "", "s/step", "system, MiB", "configuration", "files (sha256)"], rows)


def _machine(data: Data) -> Iterator[str]:
    environment, base = data["environment"], data["base"]
    if not environment:
        return
    machine = environment["machine"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB" if machine["memory_bytes"] else "unknown memory"
    cores = machine["num_cores_allowed"]
    devices = ", ".join(f"{device['name']}" for device in environment["devices"]) or "no GPU"
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    files = ", ".join(f"{row['file']} `{row['sha256'][:12]}`" for row in base["files"].values())
    yield "## Machine, versions, hashes"
    yield ""
    yield f"- {machine['processor']}, {counted(cores, 'core')}, {memory}; {devices}; {environment['system']}"
    yield f"- Python {environment['python']}, {packages}"
    yield f"- the model's files (sha256): {files}"
    yield f"- clips and model together: `{base['digest'][:12]}`"
    yield f"- written {data['written']}, from `comparison.json`, which has every number in full"
    yield ""


def _base(data: Data, name: str) -> str:
    """Name a base by the form that its weights have."""
    return f"{name} ({data['config'].get('base', 'nf4') if name == 'packed' else data['base']['dtype']})"


def _on(data: Data, method: str, base: str) -> str:
    return TITLES[method] + (f", base {_base(data, base)}" if method == "qlora" else "")


def _first(found: Mapping[str, Any]) -> Any:
    """Return what is of the base that was trained on."""
    return next(iter(found.values()))


def _rows(head: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
    yield ""


def _pm(spread: Mapping[str, Any] | None, digits: int) -> str:
    if spread is None:
        return ""
    half = "" if spread["half_width"] is None else f" ± {spread['half_width']:.{digits}f}"
    return f"{spread['mean']:.{digits}f}{half}"


def _range(spread: Mapping[str, Any] | None) -> str:
    return "" if spread is None else f"{_pm(spread, 4)} ({spread['least']:.4f} to {spread['most']:.4f})"


def _mib(num_bytes: int | None) -> str:
    return "" if num_bytes is None else f"{num_bytes / _MIB:,.1f}"


def _seconds(seconds: float | None, digits: int = 0) -> str:
    return "" if seconds is None else f"{seconds:.{digits}f}"


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
