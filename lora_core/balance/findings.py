"""What is wrong between the LoRAs of a stack, by name: one rule a function, in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median

from ..experts import Expert
from ..plan.advice import Advice
from ..wording import expert_named, said
from .expert_balance import ExpertBalance
from .proposal import Proposal, content_strengths

#: The cosine from which on two changes are one and the same; of independent ones it is below 0.1.
SAME = 0.9
#: From here on two LoRAs have much in common: two epochs of a training, or two trainings on one subject.
ALIKE = 0.3
#: The cosine, negative, from which on two LoRAs take something away from each other.
FIGHTS = -0.1
#: By how much a LoRA is larger than the others are, when they are hard to see beside it.
DROWNS = 2.0

_EVIDENCE = "the cosine between both changes, all layers counted by their relative size"


def find(experts: Mapping[Expert, ExpertBalance], proposal: Proposal) -> tuple[Advice, ...]:
    """Apply every rule to every expert."""
    return tuple(advice for rule in RULES for balance in experts.values() for advice in rule(balance, proposal))


def _opposites(balance: ExpertBalance, proposal: Proposal) -> Iterator[Advice]:
    for first, second, cosine in _pairs(balance):
        if cosine <= -SAME:
            text = said(
                "it is the negative of {other}{where} (alignment {cosine}): they take each other away. Keep one",
                **_between(balance, second, cosine),
            )
            yield Advice(balance.names[first], "opposite", text, _EVIDENCE)


def _duplicates(balance: ExpertBalance, proposal: Proposal) -> Iterator[Advice]:
    sizes = balance.weights.sizes([1.0] * len(balance.loras)).tolist()
    for first, second, cosine in _pairs(balance):
        if cosine >= SAME:
            scale, own = sizes[first] / sizes[second], balance.strengths
            text = said(
                "it does what {other} does{where} (alignment {cosine}), {scale} times as large at strength 1: "
                "together they act as {other} at strength {total}. Keep one",
                **_between(balance, second, cosine),
                scale=f"{scale:.3g}",
                total=f"{own[first] * scale + own[second]:.3g}",
            )
            yield Advice(balance.names[first], "duplicate", text, _EVIDENCE)


def _alike(balance: ExpertBalance, proposal: Proposal) -> Iterator[Advice]:
    for first, second, cosine in _pairs(balance):
        if ALIKE <= cosine < SAME:
            text = said(
                "it has much in common with {other}{where} (alignment {cosine}), which so acts more strongly than "
                "either strength says. Lower both, or keep one",
                **_between(balance, second, cosine),
            )
            yield Advice(balance.names[first], "alike", text, _EVIDENCE, "note")


def _fights(balance: ExpertBalance, proposal: Proposal) -> Iterator[Advice]:
    for first, second, cosine in _pairs(balance):
        if -SAME < cosine <= FIGHTS:
            text = said(
                "it pulls against {other}{where} (alignment {cosine}), most of all in {layer}. Lower one, or "
                "keep it out of those blocks with a target filter",
                **_between(balance, second, cosine),
                layer=_most_opposed(balance, first, second),
            )
            yield Advice(balance.names[first], "fight", text, _EVIDENCE)


def _drowns(balance: ExpertBalance, proposal: Proposal) -> Iterator[Advice]:
    strengths = content_strengths(balance.loras)
    sizes = dict(zip(balance.names, balance.weights.sizes(strengths).tolist(), strict=True))
    acting = {name: size for name, size in sizes.items() if size > 0}
    for name, size in acting.items():
        others = [other for other_name, other in acting.items() if other_name != name]
        if others and size >= DROWNS * (usual := median(others)):
            text = said(
                "it changes the model{where} {times} times as much as the other content LoRAs do ({size} against "
                "{usual}), which are hard to see beside it. Lower it",
                where=_where(balance),
                times=f"{size / usual:.1f}",
                size=f"{size:.3g}",
                usual=f"{usual:.3g}",
            )
            yield Advice(name, "drowns", text, "the root mean square of |sD| by |W| over the layers")


def _overload(balance: ExpertBalance, proposal: Proposal) -> Iterator[Advice]:
    budget = proposal.budgets.get(balance.expert)
    if budget is not None and budget.is_exceeded:
        text = said(
            "the content LoRAs together change the model{where} by {size}, more than the {most} that it is known to "
            "bear. Take the proposed strengths",
            where=_where(balance),
            size=f"{budget.before:.3g}",
            most=f"{budget.most:.3g}",
        )
        yield Advice(None, "overload", text, "each was trained alone at strength 1; benchmarks/balance.py")


def _pairs(balance: ExpertBalance) -> Iterator[tuple[int, int, float]]:
    """Yield the places of every two LoRAs that change something, and the cosine between them as they act."""
    alignment = balance.alignment()
    acting: Sequence[bool] = balance.weights.acts.any(dim=0).tolist()
    for first, second in combinations(range(len(balance.loras)), 2):
        if acting[first] and acting[second] and balance.strengths[first] and balance.strengths[second]:
            yield first, second, float(alignment[first, second])


def _between(balance: ExpertBalance, second: int, cosine: float) -> dict[str, str]:
    """Return what the text on every pair names."""
    return {"other": balance.names[second], "where": _where(balance), "cosine": f"{cosine:.2f}"}


def _most_opposed(balance: ExpertBalance, first: int, second: int) -> str:
    cosines = balance.weights.layer_alignment()[:, first, second] * balance.sign(first, second)
    return balance.weights.targets[int(cosines.argmin())]


def _where(balance: ExpertBalance) -> str:
    """Say which expert, where the model has two."""
    return "" if balance.is_single else said(" on {expert}", expert=expert_named(balance.expert))


RULES: tuple[Callable[[ExpertBalance, Proposal], Iterator[Advice]], ...] = (
    _opposites,
    _duplicates,
    _alike,
    _fights,
    _drowns,
    _overload,
)
