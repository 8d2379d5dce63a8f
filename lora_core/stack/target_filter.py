"""A target filter: how much of a LoRA acts on which blocks and kinds of module.

A rule names a range of blocks, a module kind, or both, and a factor. The factors of all rules that match a target
multiply; a target that no rule matches gets `otherwise`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from ..checks import finite_number, known, known_keys, nearest, number_in_text, number_text, shown, typed
from ..errors import StackError
from ..families.base import ModelSpec, ModuleKind
from ..wording import said

_WHERE = "target filter"
#: Every block and module kind of the largest model has a rule of its own within these.
_MAX_RULES, _MAX_LENGTH = 1000, 20_000
_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?")


@dataclass(frozen=True)
class FilterRule:
    """A factor on the targets in `blocks` (first and last, inclusive) and of `kind`; None stands for all."""

    factor: float
    blocks: tuple[int, int] | None = None
    kind: ModuleKind | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", finite_number(self.factor, f"{_WHERE} factor", StackError))
        if self.kind is not None:
            known(self.kind, get_args(ModuleKind), f"{_WHERE} kind", StackError)
        if self.blocks is not None:
            object.__setattr__(self, "blocks", _checked_blocks(self.blocks))

    def matches(self, target: str, spec: ModelSpec) -> bool:
        """Say whether the rule is about `target`."""
        if self.kind is not None and spec.kind_of(target) != self.kind:
            return False
        if self.blocks is None:
            return True
        block = spec.block_of(target)
        return block is not None and self.blocks[0] <= block[0] <= self.blocks[1]

    def __str__(self) -> str:
        names = (_blocks_text(self.blocks) if self.blocks else "", self.kind or "")
        return f"{'.'.join(name for name in names if name) or 'all'}={number_text(self.factor)}"


@dataclass(frozen=True)
class TargetFilter:
    """A factor for every target of a LoRA.

    Attributes:
        rules: the factors of all that match a target multiply.
        otherwise: the factor where no rule matches; 0 makes the rules a list of what acts at all.
    """

    rules: tuple[FilterRule, ...] = ()
    otherwise: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.rules, Iterable) or not all(isinstance(rule, FilterRule) for rule in self.rules):
            raise StackError(
                _WHERE,
                said("rules {rules!r:.60} are none", rules=self.rules),
                expected="a list of FilterRule",
                remedy="Correct the filter",
            )
        object.__setattr__(self, "rules", tuple(self.rules))
        if len(self.rules) > _MAX_RULES:
            raise StackError(
                _WHERE,
                said("{count:,} rules", count=len(self.rules)),
                expected=said("at most {most:,}", most=_MAX_RULES),
                remedy="Remove some",
            )
        object.__setattr__(self, "otherwise", finite_number(self.otherwise, f"{_WHERE} otherwise", StackError))

    def factor(self, target: str, spec: ModelSpec) -> float:
        """Return what the change of a target of this model is multiplied with."""
        product, matched = 1.0, False
        for rule in self.rules:
            if rule.matches(target, spec):
                product, matched = product * rule.factor, True
        return product if matched else self.otherwise

    def to_json(self) -> dict[str, object]:
        """Return the form that `from_json` reads; defaults are left out."""
        form: dict[str, object] = {"rules": [_rule_json(rule) for rule in self.rules]}
        if self.otherwise != 1.0:
            form["otherwise"] = self.otherwise
        return form

    @classmethod
    def from_json(cls, form: object) -> TargetFilter:
        """Read `{"rules": [{"blocks": "0-9", "kind": "ffn", "factor": 0.5}], "otherwise": 0}`, or the text form."""
        if isinstance(form, str):
            return cls.parse(form)
        if not isinstance(form, Mapping):
            expected = '"0-9=0.5,ffn=0" or {"rules": [{"blocks": "0-9", "factor": 0.5}]}'
            raise StackError(
                _WHERE,
                said("{form!r:.60} is no target filter", form=form),
                expected=expected,
                remedy="Correct the filter",
            )
        known_keys(form, ("rules", "otherwise"), _WHERE, StackError)
        rules = form.get("rules", ())
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            raise StackError(
                _WHERE,
                said("rules {rules!r:.60} are no list", rules=rules),
                expected='[{"kind": "ffn", "factor": 0.5}]',
                remedy="Correct the filter",
            )
        return cls(tuple(_rule_from_json(rule, i) for i, rule in enumerate(rules, 1)), form.get("otherwise", 1.0))

    def __str__(self) -> str:
        """Return the text that `parse` reads back to this filter."""
        parts = [str(rule) for rule in self.rules]
        if self.otherwise != 1.0 or not parts:
            parts.append(f"otherwise={number_text(self.otherwise)}")
        return ",".join(parts)

    @classmethod
    @typed(StackError)
    def parse(cls, text: str) -> TargetFilter:
        """Read the compact text form, such as `0-9=0.5,cross_attn=0.3,20-29.ffn=0,otherwise=1`."""
        if len(text) > _MAX_LENGTH:
            raise StackError(
                _WHERE,
                said("{count:,} letters", count=len(text)),
                expected=said("at most {most:,}", most=_MAX_LENGTH),
                remedy="Shorten it",
            )
        rules, otherwise = [], 1.0
        for part in text.split(","):
            name, equals, factor = (piece.strip() for piece in part.partition("="))
            if not equals:
                raise StackError(
                    _WHERE,
                    said("{part} in {text} has no factor", part=shown(part.strip()), text=shown(text)),
                    expected="blocks.kind=factor",
                    remedy="Add one",
                )
            number = number_in_text(factor, f"{_WHERE} {shown(text)}", StackError)
            if name == "otherwise":
                otherwise = number
            else:
                rules.append(_rule_from_text(name, number))
        return cls(tuple(rules), otherwise)


def _checked_blocks(blocks: object) -> tuple[int, int]:
    """Return an inclusive range of blocks from "3", "0-9", 3, or a pair of numbers."""
    if isinstance(blocks, (list, tuple)) and [type(end) for end in blocks] == [int, int]:
        first, last = blocks
    elif not isinstance(blocks, bool) and (found := _RANGE.fullmatch(str(blocks).strip())):
        first, last = int(found[1]), int(found[2] or found[1])
    else:
        first, last = 0, -1
    if not 0 <= first <= last:
        raise StackError(
            f"{_WHERE} blocks",
            said("{blocks!r:.60} is no range", blocks=blocks),
            expected='first-last, such as "0-9", or one',
            remedy="Correct the range",
        )
    return first, last


def _rule_from_text(name: str, factor: float) -> FilterRule:
    """Read what a rule is about: `0-9`, `ffn`, `0-9.ffn` or `all`."""
    if name == "all":
        return FilterRule(factor)
    blocks, _, kind = name.partition(".") if name[:1].isdigit() else ("", "", name)
    if kind and kind not in get_args(ModuleKind):
        choices = (*get_args(ModuleKind), "all", "otherwise")
        raise StackError(
            _WHERE,
            said("unknown module kind {kind}", kind=shown(kind)),
            expected=nearest(kind, choices),
            remedy="Choose one that there is",
        )
    return FilterRule(factor, _checked_blocks(blocks) if blocks else None, cast("ModuleKind | None", kind or None))


def _rule_from_json(form: object, number: int) -> FilterRule:
    where = f"{_WHERE} rule {number}"
    if not isinstance(form, Mapping):
        raise StackError(
            where,
            said("{form!r:.60} is no rule", form=form),
            expected='{"blocks": "0-9", "kind": "ffn", "factor": 0.5}',
            remedy="Correct the filter",
        )
    known_keys(form, ("blocks", "kind", "factor"), where, StackError)
    if "factor" not in form:
        raise StackError(
            where, "no factor", expected='{"blocks": "0-9", "kind": "ffn", "factor": 0.5}', remedy="Add one"
        )
    return FilterRule(form["factor"], form.get("blocks"), form.get("kind"))


def _rule_json(rule: FilterRule) -> dict[str, object]:
    form: dict[str, object] = {}
    if rule.blocks is not None:
        form["blocks"] = _blocks_text(rule.blocks)
    if rule.kind is not None:
        form["kind"] = rule.kind
    return {**form, "factor": rule.factor}


def _blocks_text(blocks: tuple[int, int]) -> str:
    first, last = blocks
    return str(first) if first == last else f"{first}-{last}"
