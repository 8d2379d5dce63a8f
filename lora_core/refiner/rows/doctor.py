"""The doctor of rows: what is wrong with a file of them, by itself and beside those that are held out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from ...checks import counted, first_few
from ...errors import DatasetError
from ...wording import Said, joined, plain, said
from .examples import Example, ExampleMaker
from .read import EXPECTED, RowsFile
from .row import Row

_NUM_SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in some lines.

    Attributes:
        kind: a word for programs, such as `empty-answer`.
        lines: from 1; () where it is about the whole file.
        is_error: whether nothing can be trained because of it.
    """

    kind: str
    what: Said
    lines: tuple[int, ...] = ()
    is_error: bool = False

    def text(self) -> Said:
        """Return it for people, with the first lines."""
        if not self.lines:
            return self.what
        lines = first_few(map(str, self.lines), _NUM_SHOWN)
        return said("{what}: line {lines}", what=self.what, lines=lines)

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs, with all lines."""
        return {"kind": self.kind, "error": self.is_error, "what": str(self.what), "lines": list(self.lines)}


@dataclass(frozen=True)
class FileReport:
    """What was found of one file.

    Attributes:
        examples: its rows as a model is given them, but for those that are left out as too long.
        left_out: the lines of those.
    """

    file: RowsFile
    examples: tuple[Example, ...]
    left_out: tuple[int, ...]
    findings: tuple[Finding, ...]

    def with_findings(self, more: Iterable[Finding]) -> FileReport:
        """Return it with what was found of the file beside others."""
        return replace(self, findings=(*self.findings, *more))

    def check(self) -> None:
        """Raise where something is found because of which nothing can be trained; all of it is named."""
        errors = [finding for finding in self.findings if finding.is_error]
        if not errors:
            return
        kinds, what = {finding.kind for finding in errors}, [finding.text() for finding in errors]
        told = first_few(what, _NUM_SHOWN, between="; ")
        if "too-long" in kinds:
            remedy = "Correct these rows; long ones are left out with long_rows = leave_out"
            raise DatasetError(self.file.path, told, remedy=remedy)
        expected = EXPECTED if kinds & {"no-row", "no-rows"} else ""
        raise DatasetError(self.file.path, told, expected=expected, remedy="Correct these rows")

    def notes(self) -> Iterator[Said]:
        """Give what is good to know of the file although it can be used."""
        for finding in self.findings:
            if not finding.is_error:
                yield said("{file}: {what}", file=self.file.path.name, what=finding.text())

    def lines(self) -> Iterator[str]:
        """Give the report for people, line by line."""
        rows = self.file.rows
        yield said("{file}: {rows}", file=self.file.path, rows=counted(len(rows), "row"))
        kinds, languages = [row.kind for row in rows], [row.language for row in rows]
        for name, values in ((said("kinds"), kinds), (said("languages"), languages)):
            if told := Counter(filter(None, values)):
                counts = joined(", ", [f"{value} {count}" for value, count in told.most_common()])
                yield said("  {name}: {counts}", name=name, counts=counts)
        if lengths := [len(example.input_ids) for example in self.examples]:
            learnt = sum(example.num_learnt for example in self.examples)
            yield said(
                "  tokens a row: {least} to {most}, half have at most {median:g}; {learnt:,} are learnt from",
                least=min(lengths),
                most=max(lengths),
                median=median(lengths),
                learnt=learnt,
            )
        for finding in self.findings:
            yield said("  error: {what}", what=finding.text()) if finding.is_error else f"  {finding.text()}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "file": str(self.file.path),
            "rows": len(self.file.rows),
            "kinds": dict(Counter(row.kind for row in self.file.rows if row.kind)),
            "languages": dict(Counter(row.language for row in self.file.rows if row.language)),
            "tokens": [len(example.input_ids) for example in self.examples],
            "tokens_learnt": sum(example.num_learnt for example in self.examples),
            "left_out": list(self.left_out),
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class RowsReport:
    """What was found of the rows that are learnt, and of those that are held out."""

    files: tuple[FileReport, ...]

    def check(self) -> None:
        """Raise where something is found because of which nothing can be trained."""
        for file in self.files:
            file.check()

    def notes(self) -> list[Said]:
        """Return what is good to know of all files."""
        return [note for file in self.files for note in file.notes()]

    def text(self) -> str:
        """Return the report for people."""
        return "\n".join(line for file in self.files for line in file.lines())

    def to_json(self) -> str:
        """Return the report for programs."""
        return json.dumps({"files": [file.to_dict() for file in self.files]}, indent=1, ensure_ascii=False) + "\n"


def examine_rows(
    train: RowsFile,
    held_out: RowsFile | None,
    maker: ExampleMaker,
    max_length: int,
    *,
    rehearsal: RowsFile | None = None,
    leaves_out: bool = False,
) -> RowsReport:
    """Look for what is wrong in rows; nothing is raised before `check`.

    Args:
        train: the rows that are learnt.
        held_out: rows that are only measured.
        maker: of examples, for the model that learns.
        max_length: in tokens, of request and answer together.
        rehearsal: rows of what is known already, learnt beside the others.
        leaves_out: whether longer rows are left out, and no error.

    Raises:
        ModelError: the model's chat template does not do.
    """
    files = [_examine(train, maker, max_length, leaves_out)]
    if held_out is not None:
        learnt = (*train.rows, *(() if rehearsal is None else rehearsal.rows))
        shared = _shared(learnt, held_out.rows, said("is learnt, too, and measures nothing"))
        files.append(_examine(held_out, maker, max_length, leaves_out).with_findings(shared))
    if rehearsal is not None:
        shared = _shared(train.rows, rehearsal.rows, said("is among the rows as well"))
        files.append(_examine(rehearsal, maker, max_length, leaves_out).with_findings(shared))
    return RowsReport(tuple(files))


def _examine(file: RowsFile, maker: ExampleMaker, max_length: int, leaves_out: bool) -> FileReport:
    examples, long, faults = [], [], []
    for row in file.rows:
        try:
            example = maker.example(row)
        except DatasetError as error:
            faults.append((plain(error.what), row.line))
            continue
        if len(example.input_ids) > max_length:
            long.append(row.line)
        else:
            examples.append(example)
    findings = [*_of_lines(file), *_together("no-end", faults)]
    if long:
        what = said("more than {most:,} tokens", most=max_length)
        what = said("{what}, left out", what=what) if leaves_out else what
        findings.append(Finding("too-long", what, tuple(long), is_error=not leaves_out))
    if not file.rows:
        findings.append(Finding("no-rows", said("holds no row"), is_error=True))
    elif not examples and leaves_out:
        findings.append(Finding("no-rows", said("all rows are too long"), is_error=True))
    return FileReport(file, tuple(examples), tuple(long), tuple(findings))


def _together(kind: str, faults: Iterable[tuple[Said, int]]) -> Iterator[Finding]:
    """Give faults of lines that say the same as one finding of all of them."""
    lines: dict[Said, list[int]] = defaultdict(list)
    for what, line in faults:
        lines[what].append(line)
    for what, places in lines.items():
        yield Finding(kind, what, tuple(places), is_error=True)


def _of_lines(file: RowsFile) -> Iterator[Finding]:
    """Give what is wrong with the lines of a file, whatever the model."""
    for note in file.notes:
        yield Finding("note", note)
    yield from _together("no-row", ((fault.what, fault.line) for fault in file.faults))
    if empty := tuple(row.line for row in file.rows if not all(t.content.strip() for t in row.turns)):
        yield Finding("empty-answer", said("an empty answer"), empty, is_error=True)
    double, seen = [], set()
    for row in file.rows:
        double += [row.line] if row.turns in seen else []
        seen.add(row.turns)
    if double:
        yield Finding("double", said("as a line before it"), tuple(double))
    if other := _contradictions(file.rows):
        yield Finding("contradiction", said("the same request with different answers"), other)


def _contradictions(rows: Iterable[Row]) -> tuple[int, ...]:
    """Return the lines of all rows whose request has other answers, too."""
    answers: Mapping[Hashable, list[Row]] = _by_request(rows)
    torn = [group for group in answers.values() if len({row.answer for row in group}) > 1]
    return tuple(sorted(row.line for group in torn for row in group))


def _by_request(rows: Iterable[Row]) -> dict[Hashable, list[Row]]:
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.asked].append(row)
    return groups


def _shared(train: Iterable[Row], rows: Sequence[Row], what: Said) -> Iterator[Finding]:
    """Give what rows have in common with those that are learnt; `what` is said of those that are the same."""
    learnt = {request: {row.answer for row in group} for request, group in _by_request(train).items()}
    same = tuple(row.line for row in rows if row.answer in learnt.get(row.asked, ()))
    other = tuple(row.line for row in rows if row.asked in learnt and row.answer not in learnt[row.asked])
    if same:
        yield Finding("in-both", what, same)
    if other:
        yield Finding("contradiction", said("the same request is learnt with another answer"), other)
