"""The sentences of the report on refiners, each computed from the figures: what beats what, and what does not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..plots import TITLES
from .names import Cell, Data, best_cells, cell_title, listed, mean, own_base, share_text, swept_cells, told
from .questions import HANDWRITTEN, HELD_OUT, KNOWN, NEW

#: From which share of what the least able method learns, points of the curves count as having learnt as much.
_AS_MUCH = 0.9


def in_short(data: Data) -> Iterator[str]:
    """Yield what came out, a line each."""
    for name in (HANDWRITTEN, NEW, HELD_OUT):
        if name in data["sets"]:
            yield from _against_baselines(data, name)
    yield from _forgetting(data)
    yield from _forgets_less(data)
    yield from _on_bases(data)
    yield from _videos(data)


def _against_baselines(data: Data, name: str) -> Iterator[str]:
    """Yield which ways without tuning the best tuning beats on a set, and which it does not."""
    cells = [cell for cell in best_cells(data) if told(cell, name) is not None]
    if not cells:
        return
    best = max(cells, key=lambda cell: mean(cell, name) or 0.0)
    spread = told(best, name)
    assert spread is not None
    by_verdict: dict[str, list[str]] = {}
    for row in data["baselines"].values():
        if name in row["measured"]:
            share = row["measured"][name]["exact"]
            by_verdict.setdefault(verdict(share, spread), []).append(f"{row['title']} ({100 * share:.0f} %)")
    set_ = data["sets"][name]
    who = f"{cell_title(best['method'], best['rehearsal'])} at {best['lr']:g}"
    yield (
        f"- **Right to the letter, {set_['title']}** ({set_['num']} requests): the best tuning is {who}, with "
        f"{share_text(spread)}. {_verdicts(by_verdict)}"
    )


def verdict(share: float, spread: Mapping[str, Any]) -> str:
    """Say whether all seeds are above a share, none is, or it lies between them."""
    return "beaten" if spread["least"] > share else "ahead" if spread["most"] < share else "level"


def _verdicts(by_verdict: Mapping[str, list[str]]) -> str:
    says = {
        "beaten": "It beats {}.",
        "level": "It is not told apart from {}.",
        "ahead": "**It does not beat {}.**",
    }
    return " ".join(text.format(listed(by_verdict[key])) for key, text in says.items() if key in by_verdict)


def _forgetting(data: Data) -> Iterator[str]:
    """Yield what of known words is kept at the best rates."""
    before = data["baselines"].get("untuned", {}).get("measured", {}).get(KNOWN, {}).get("exact")
    for rehearsal in dict.fromkeys(cell["rehearsal"] for cell in best_cells(data)):
        own = [cell for cell in best_cells(data) if cell["rehearsal"] == rehearsal]
        parts = [f"{TITLES[c['method']]} {share_text(told(c, NEW))} and {share_text(told(c, KNOWN))}" for c in own]
        how = f"With {100 * rehearsal:.0f} % of the rows rehearsed" if rehearsal else "Without rehearsal"
        start = "" if before is None else f" (untuned: {100 * before:.0f} % of known words)"
        yield f"- **{how}**, right in new words and in known words{start}: {'; '.join(parts)}."


def _forgets_less(data: Data) -> Iterator[str]:
    """Yield which method keeps the most where all have learnt as much, over all rates and checkpoints."""
    points: dict[tuple[float, str], list[tuple[float, float]]] = {}
    for cell in swept_cells(data):
        own = points.setdefault((cell["rehearsal"], cell["method"]), [])
        own += [(point[NEW], point[KNOWN]) for point in cell["curve"]]
    for rehearsal in dict.fromkeys(share for share, _ in points):
        own_points = {method: own for (share, method), own in points.items() if share == rehearsal}
        if len(own_points) < 2:
            continue
        enough = _AS_MUCH * min(max(new for new, _ in own) for own in own_points.values())
        kept = {m: max(known for new, known in own if new >= enough) for m, own in own_points.items()}
        order = sorted(kept, key=lambda method: -kept[method])
        shares = ", ".join(f"{TITLES[method]} {100 * kept[method]:.0f} %" for method in order)
        yield (
            f"- **At equal learning{', rehearsing' if rehearsal else ''}** (at least {100 * enough:.0f} % of new words "
            f"right, over all rates and checkpoints), the most of known words that was kept: {shares}."
        )


def _on_bases(data: Data) -> Iterator[str]:
    """Yield how QLoRA's adapter does on either base."""
    for cell in best_cells(data):
        if cell["method"] == "qlora":
            parts = [f"{share_text(told(cell, NEW, base=base))} on {base}" for base in cell["measured"]]
            title = cell_title("qlora", cell["rehearsal"])
            yield f"- **{title}, new words**: {', '.join(parts)}; tuned on {own_base(cell)}."


def _videos(data: Data) -> Iterator[str]:
    """Yield what of the gap in videos the best of tunings and of other ways close."""
    videos = data["videos"]
    if videos is None:
        return
    subjects = videos["subjects"]
    numbers = {"by_hand": videos["num_by_hand"], "drawn": videos["num"] - videos["num_by_hand"]}
    for part, title in (("by_hand", "written by hand"), ("drawn", "in new words")):
        raw, right = (subjects[name][part] for name in ("raw", "right"))
        if raw is None or right is None:
            continue
        text = (
            f"- **Videos of {numbers[part]} requests {title}**: colour, shape and direction are all as asked in "
            f"{share_text(raw)} of those of the raw request, and in {share_text(right)} of those of the right caption."
        )
        tuned, others = tuned_names(data), data["baselines"]
        best = [_most_closed(subjects, part, names) for names in (tuned, others)]
        told = [f"{share_text(subjects[name]['closed'][part])} ({subject_title(data, name)})" for name in best if name]
        if len(told) == len(best):
            text += f" Of the gap the best tuning closes {told[0]}, the best way without tuning {told[1]}."
        yield text


def _most_closed(subjects: Mapping[str, Any], part: str, names: Collection[str]) -> str:
    """Return who of some closes most of the gap; "" where nobody does, or there is none."""
    found = {
        name: row["closed"][part]["mean"] for name, row in subjects.items() if name in names and row["closed"][part]
    }
    return max(found, key=found.__getitem__) if found else ""


def tuned_names(data: Data) -> dict[str, Cell]:
    """Return what the subjects of videos are called -> the cell whose answers they were made of."""
    return {f"{cell['method']}-{cell['rehearsal']:g}": cell for cell in best_cells(data)}


def subject_title(data: Data, name: str) -> str:
    """Name a subject of the videos."""
    if name in data["baselines"]:
        return str(data["baselines"][name]["title"])
    if (cell := tuned_names(data).get(name)) is not None:
        return f"{cell_title(cell['method'], cell['rehearsal'])}, {cell['lr']:g}"
    return {"raw": "the raw prompt", "right": "the right caption"}[name]
