"""The report on a stack's balance: sizes of each LoRA, how they meet, what is wrong, and the proposed strengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..checks import number_text
from ..experts import Expert
from ..files.purpose import Purpose
from ..wording import Said, expert_named, expert_of, joined, padded, said
from .directions import Closest
from .expert_balance import ExpertBalance
from .proposal import Budget, Proposal, ProposedStrength

if TYPE_CHECKING:
    from .balance import StackBalance

_NAME, _NUMBER = 26, 10
_LEFT_ALONE: Mapping[Purpose, str] = {"speed": said("speed"), "length": said("length")}
#: How many principal angles of a layer are told.
_NUM_ANGLES = 3


def report(balance: StackBalance) -> Said:
    """Return the report on a stack."""
    lines: list[str] = []
    for expert in balance.experts.values():
        lines += [*_expert(expert), ""]
    lines += [advice.told() for advice in balance.findings] or [said("nothing is wrong between these LoRAs")]
    return joined("\n", [*lines, "", *_proposal(balance.proposal)])


def _expert(balance: ExpertBalance) -> Iterator[str]:
    count = len(balance.weights.targets)
    if balance.is_single:
        yield said("{count} matrices are changed", count=count)
    else:
        yield said("{expert} expert: {count} matrices are changed", expert=expert_of(balance.expert), count=count)
    yield from _table(balance)
    yield said(
        "together {size}, amplification {factor} (1 where the changes are independent)",
        size=f"{balance.together():.3g}",
        factor=f"{balance.weights.amplification(balance.strengths):.2f}",
    )
    if balance.closest and abs(balance.closest[0].alignment) >= 0.01:
        yield said("most aligned layers:")
        yield from (_closest(balance, closest) for closest in balance.closest)
    if not balance.has_base:
        yield said("note: no base model was given, so sizes are root mean squares and not relative to its weights")
    if balance.num_left_out:
        yield said("note: {count} changes of biases, norms and tables are not counted", count=balance.num_left_out)
    if masked := [lora.name for lora in balance.loras if lora.is_masked]:
        yield said("note: {names} act in a part of the clip, and count here as if everywhere", names=", ".join(masked))


def _table(balance: ExpertBalance) -> Iterator[str]:
    """Yield a heading and a row for each LoRA."""
    outputs = balance.outputs
    heads = [said("strength"), said("size"), said("largest"), said("in")]
    if outputs is not None:
        heads.insert(2, said("at {sigma}", sigma=number_text(round(outputs.sigma, 3))))
    yield joined("", [padded("", _NAME), *(_cell(head) for head in heads[:-1]), "  ", heads[-1]])
    sizes = balance.weights.sizes(balance.strengths).tolist()
    seen = [] if outputs is None else [outputs.gram.sizes(balance.strengths).tolist()]
    layers = balance.weights.layer_sizes(balance.strengths)
    for place, name in enumerate(balance.names):
        most = int(layers[:, place].argmax()) if len(layers) else None
        numbers = [number_text(round(balance.strengths[place], 4)), _size(sizes[place])]
        numbers += [_size(column[place]) for column in seen]
        numbers += ["-" if most is None else _size(float(layers[most, place]))]
        where = "" if most is None else balance.weights.targets[most]
        yield joined("", [padded(f"  {_short(name)}", _NAME), *(_cell(number) for number in numbers), "  ", where])


def _closest(balance: ExpertBalance, closest: Closest) -> Said:
    values = {
        "layer": closest.target,
        "first": balance.names[closest.first],
        "second": balance.names[closest.second],
        "cosine": f"{closest.alignment * balance.sign(closest.first, closest.second):+.3f}",
    }
    if not closest.outputs:
        return said("  {layer}: {first} and {second} {cosine}", **values)
    return said(
        "  {layer}: {first} and {second} {cosine}, angles {outputs} of outputs, {inputs} of inputs",
        outputs=_angles(closest.outputs),
        inputs=_angles(closest.inputs),
        **values,
    )


def _proposal(proposal: Proposal) -> Iterator[str]:
    if not proposal.changes_anything:
        yield said("proposed strengths: those there are")
        return
    yield said("proposed strengths:")
    for name in dict.fromkeys(row.name for row in proposal.strengths):
        rows = [row for row in proposal.strengths if row.name == name]
        yield joined("", [f"  {_short(name)}: ", joined(", ", [_change(row, proposal) for row in rows])])
    yield from (_budget(expert, budget, proposal) for expert, budget in proposal.budgets.items())


def _change(row: ProposedStrength, proposal: Proposal) -> Said:
    before, after = number_text(round(row.before, 4)), number_text(row.after)
    where = "" if _is_single(proposal) else joined("", [expert_named(row.expert), " "])
    if row.is_left_alone:
        purpose = _LEFT_ALONE[row.purpose]
        return said("{where}stays at {before} ({purpose})", where=where, before=before, purpose=purpose)
    if row.after == row.before:
        return said("{where}stays at {before}", where=where, before=before)
    return said("{where}{before} to {after}", where=where, before=before, after=after)


def _budget(expert: Expert, budget: Budget, proposal: Proposal) -> Said:
    where = "" if _is_single(proposal) else said(" on {expert}", expert=expert_named(expert))
    return said(
        "  content together{where}: {before} to {after}, within {most}",
        where=where,
        before=f"{budget.before:.3g}",
        after=f"{budget.after:.3g}",
        most=f"{budget.most:.3g}",
    )


def _is_single(proposal: Proposal) -> bool:
    return all(row.expert == "low_noise" for row in proposal.strengths)


def _size(size: float) -> str:
    return f"{size:.3g}"


def _angles(angles: tuple[float, ...]) -> str:
    return "/".join(f"{angle:.0f}°" for angle in angles[:_NUM_ANGLES])


def _cell(text: str) -> Said:
    return padded(text, _NUMBER, to_right=True)


def _short(name: str) -> str:
    return name if len(name) <= _NAME - 3 else f"{name[: _NAME - 4]}…"
