"""The tables of a comparison's report, each with its heading, from the table of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .cells import first, fixed, in_range, mib, percent, plus_minus, rows_of, whole
from .plots import TITLES

Data = Mapping[str, Any]
Summary = Mapping[str, Any]

_HELD = {True: "held", False: "**not held**", None: "cannot be told"}


def methods_table(data: Data) -> Iterator[str]:
    """Yield what each method costs and leads to."""
    methods = data["methods"]
    if not methods:
        return
    yield from rows_of(["", *(TITLES[method] for method in methods)], _summary_rows(data, list(methods.values())))
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
    yield row("weights that learn", lambda s: whole(s["num_weights"]))
    yield row("tensors, MiB", lambda s: mib(s["tensor_bytes"]))
    if any(summary["device_bytes"] for summary in methods):
        yield row("device at the peak, MiB", lambda s: mib(s["device_bytes"]))
    yield row("system at the peak, MiB", lambda s: mib(s["system_bytes"]))
    yield row("a step, median, s", lambda s: fixed(s["seconds_per_step"], 3))
    yield row("a step, fastest quarter, s", lambda s: fixed(s["seconds_of_fast_steps"], 3))
    yield row("a training, s", lambda s: fixed(s["seconds"]))
    yield row("a training, s of the processor", lambda s: fixed(s["processor_seconds"]))
    yield row("files, MiB", lambda s: mib(s["file_bytes"]))
    yield row("held-out loss", lambda s: plus_minus(first(s["held_out"])["mean"], 4))
    yield row(f"learnt: {data['score']}", lambda s: plus_minus(first(s["judged"])["score"], 2))
    yield row("other prompts: moved", lambda s: plus_minus(first(s["judged"])["moved"], 3))


def losses_table(data: Data) -> Iterator[str]:
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
            rows.append([_on(data, method, base), *(in_range(losses.get(expert)) for expert in experts)])
    yield from rows_of(["", *(f"{expert.replace('_', '-')} expert" for expert in experts)], rows)
    yield "Mean ± 95 % t-interval over the seeds, and in brackets the least and the most."
    yield ""


def bases_table(data: Data) -> Iterator[str]:
    """Yield how a QLoRA does on either base."""
    summary = data["methods"].get("qlora")
    if summary is None:
        return
    yield "## QLoRA on either base"
    yield ""
    rows = [
        [
            _base(data, base) + (", as trained" if base == "packed" else ""),
            plus_minus(losses["mean"], 4),
            plus_minus(summary["judged"][base]["score"], 2),
            plus_minus(summary["judged"][base]["moved"], 3),
        ]
        for base, losses in summary["held_out"].items()
    ]
    yield from rows_of(["the base under the adapter", "held-out loss", "learnt", "moved"], rows)
    alone = data["videos"].get("base-packed")
    if alone is not None and alone["moved"] is not None:
        yield f"Packing alone, without an adapter, has moved the other prompts by {alone['moved']:.3f}."
        yield ""


def kept_table(data: Data) -> Iterator[str]:
    """Yield what of other prompts still comes out as asked."""
    titles, before = data["kept"], data["videos"].get("base-plain")
    if not titles or before is None or all(value is None for value in before["kept"].values()):
        return
    yield "## Other prompts"
    yield ""
    rows = [["the base alone", *(percent(before["kept"][name]) for name in titles)]]
    for method, summary in data["methods"].items():
        for base, judged in summary["judged"].items():
            if judged["kept"]:
                means = [judged["kept"][name] for name in titles]
                rows.append([_on(data, method, base), *(percent(mean and mean["mean"]) for mean in means)])
    yield from rows_of(["", *titles.values()], rows)


def sweep_table(data: Data) -> Iterator[str]:
    seed = data["config"]["compare"]["seeds"][0]
    swept = [row for row in data["runs"] if row["seed"] == seed]
    yield "## The sweep of the rates"
    yield ""
    rows = []
    for row in swept:
        losses = first(row["held_out"]) if row["held_out"] else {}
        text = ", ".join(f"{expert.replace('_', '-')} {loss:.4f}" for expert, loss in losses.items())
        is_best = data["best"].get(row["method"]) == row["lr"]
        why = f": {row['why']}" if row["why"] else ""
        rows.append(
            [TITLES[row["method"]], f"{row['lr']:g}", text or f"{row['state']}{why}", "best" if is_best else ""]
        )
    yield from rows_of(["method", "rate", "held-out loss", ""], rows)


def expected_table(data: Data) -> Iterator[str]:
    yield "## What was expected"
    yield ""
    yield (
        "Figures of the field, put into limits before anything was trained: PEFT's method comparison, torchtune's "
        "tables, QLoRA (arXiv 2305.14314), *LoRA Learns Less and Forgets Less* (arXiv 2405.09673), *LoRA Without "
        "Regret*. They are of models a thousand times larger and more; where ours differ, the table says so."
    )
    yield ""
    rows = [[row["name"], row["says"], row["ours"], _HELD[row["held"]]] for row in data["expected"]]
    yield from rows_of(["", "expected", "ours", ""], rows)


def trainings_table(data: Data) -> Iterator[str]:
    yield "## The trainings"
    yield ""
    rows = []
    for row in data["runs"]:
        hashes = " ".join(f"`{file['sha256'][:12]}`" for file in row["files"].values())
        took = fixed(row["seconds_per_step"], 3)
        rows.append(
            [row["name"], row["state"], took, mib(row["system_bytes"]), f"`{row['config_sha256'][:12]}`", hashes]
        )
    yield from rows_of(["training", "", "s/step", "system, MiB", "configuration", "files (sha256)"], rows)


def _base(data: Data, name: str) -> str:
    """Name a base by the form that its weights have."""
    return f"{name} ({data['config'].get('base', 'nf4') if name == 'packed' else data['base']['dtype']})"


def _on(data: Data, method: str, base: str) -> str:
    return TITLES[method] + (f", base {_base(data, base)}" if method == "qlora" else "")
