"""What the field's figures let one expect of the methods, and whether it has held here.

The figures are those of PEFT's method comparison, of torchtune's tables, of QLoRA (arXiv 2305.14314), of "LoRA Learns
Less and Forgets Less" (arXiv 2405.09673) and of "LoRA Without Regret", put into limits that can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..training.settings.adapter import Method
from .config import CompareConfig

Summaries = Mapping[Method, Mapping[str, Any]]

#: Scores count as equal within this, or within the wider of their intervals.
_EQUAL_SCORE = 0.05


@dataclass(frozen=True)
class Expectation:
    """One figure.

    Attributes:
        name: a short sign.
        says: what was expected.
        ours: what was found, in words.
        held: whether it is so here; None where it cannot be told.
    """

    name: str
    says: str
    ours: str = "not measured"
    held: bool | None = None


def expectations(methods: Summaries, config: CompareConfig) -> list[dict[str, Any]]:
    """Return every figure, checked as far as the methods that it is about were trained."""
    recompute = bool(config.any_train_config.learning.checkpointing)
    made = (_loss(methods), _rates(methods), *_memory(methods), *_time(methods, recompute), _packed(methods))
    return [asdict(expectation) for expectation in (*made, _drift(methods))]


def _ratio(methods: Summaries, one: Method, other: Method, *path: str) -> float | None:
    """Return how many times another method's figure a method has; None where either is not known."""
    values = []
    for method in (one, other):
        found: Any = methods.get(method)
        for key in path:
            found = found[key] if found else None
        values.append(found)
    return values[0] / values[1] if values[0] is not None and values[1] else None


def _at_most(name: str, says: str, ratio: float | None, most: float, more: str = "") -> Expectation:
    if ratio is None:
        return Expectation(name, says)
    return Expectation(name, says, f"{ratio:.3f} times{more}", ratio <= most)


def _loss(methods: Summaries) -> Expectation:
    ratio = _ratio(methods, "lora", "full", "held_out", "plain", "mean", "mean")
    return _at_most("A1", "LoRA's held-out loss is at most 1.02 times that of full training", ratio, 1.02)


def _rates(methods: Summaries) -> Expectation:
    says = "LoRA's best rate is 3 to 30 times that of full training"
    ratio = _ratio(methods, "lora", "full", "lr")
    if ratio is None:
        return Expectation("A1, rates", says)
    edges = [method for method in ("full", "lora") if methods[method]["is_at_edge"]]
    more = f"; the best of {' and '.join(edges)} is the last that was tried" if edges else ""
    return Expectation("A1, rates", says, f"{ratio:.3g} times{more}", 3 <= ratio <= 30)


def _memory(methods: Summaries) -> Iterator[Expectation]:
    on_device = all(summary["device_bytes"] for summary in methods.values())
    which = "device_bytes" if on_device else "tensor_bytes"
    more = "" if on_device else " (bytes of tensors; there is no device that counts its own)"
    says = "LoRA takes at most 0.6 times the memory of full training"
    yield _at_most("A2", says, _ratio(methods, "lora", "full", which), 0.6, more)
    says = "QLoRA takes at most 0.6 times the memory of LoRA, where weights outweigh activations"
    yield _at_most("A2, nf4", says, _ratio(methods, "qlora", "lora", which), 0.6, more)


def _time(methods: Summaries, recompute: bool) -> Iterator[Expectation]:
    # The fastest ones: a busy machine would make the last trainings look slow.
    which, of = "seconds_of_fast_steps", " by the fastest quarter of the steps"
    more = f"{of}{'' if recompute else '; activations are kept here, not computed twice'}"
    says = "a step of LoRA takes at most 0.75 times that of full training, activations computed twice"
    yield _at_most("A3", says, _ratio(methods, "lora", "full", which), 0.75, more)
    says = "a step of QLoRA takes at most 1.15 times that of LoRA"
    yield _at_most("A3, nf4", says, _ratio(methods, "qlora", "lora", which), 1.15, of)


def _packed(methods: Summaries) -> Expectation:
    says = "QLoRA's held-out loss is at most 1.02 times LoRA's (above 1.04 it has failed)"
    if "qlora" not in methods or "lora" not in methods:
        return Expectation("A4", says)
    ours, plain = methods["qlora"]["held_out"]["packed"]["mean"], methods["lora"]["held_out"]["plain"]["mean"]
    if not ours or not plain:
        return Expectation("A4", says)
    ratio = ours["mean"] / plain["mean"]
    more = ", between the two limits" if 1.02 < ratio <= 1.04 else ""
    return _at_most("A4", says, ratio, 1.02, more)


def _drift(methods: Summaries) -> Expectation:
    says = "at an equal learning score LoRA has moved other prompts less than full training"
    both: tuple[Method, Method] = ("lora", "full")
    found = [methods[method]["judged"]["plain"] for method in both if method in methods]
    if len(found) < 2 or not all(row["score"] and row["moved"] for row in found):
        return Expectation("A5", says)
    (lora, full), (score, other) = ([row[key]["mean"] for row in found] for key in ("moved", "score"))
    ours = f"moved {lora:.3f} against {full:.3f}, with scores of {score:.2f} and {other:.2f}"
    equal = max(_EQUAL_SCORE, *(row["score"]["half_width"] or 0.0 for row in found))
    if abs(score - other) > equal and (score < other) == (lora < full):
        return Expectation("A5", says, f"{ours}, which are not equal", None)
    return Expectation("A5", says, ours, lora < full)
