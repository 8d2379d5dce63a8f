"""The faults of one file, collected while it is read and raised together in one message."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..checks import first_few
from ..errors import LoraCoreError, LoraFileError, LoraMismatchError, UnsupportedLoraError
from ..wording import Said, joined, plain, said

#: The class raised when a file has faults of several: the first that applies.
_RANK: tuple[type[LoraCoreError], ...] = (UnsupportedLoraError, LoraFileError, LoraMismatchError)


@dataclass(frozen=True)
class Heading:
    """One way in which a file can be wrong.

    Attributes:
        text: what is wrong; `{n}` is the number of cases, `{s}`, `{have}`, `{are}`, `{match}` agree with it.
        partial: True when `allow_partial` leaves such tensors out instead.
    """

    error: type[LoraCoreError]
    text: str
    expected: str = ""
    remedy: str = ""
    partial: bool = False

    @property
    def of_one(self) -> Said:
        """What is wrong, of one case."""
        return plain(self.text if isinstance(self.text, Said) else counted(self.text, 1))

    def of(self, count: int) -> Said:
        """What is wrong, of so many cases; the translations know it of one."""
        if count == 1 or isinstance(self.text, Said):
            return self.of_one
        return Said(counted(self.text, count), said("{what} (x {count})", what=self.of_one, count=count).form)


@dataclass
class Faults:
    """Faults under their headings, in the order in which they are found."""

    cases: dict[Heading, list[str]] = field(default_factory=dict)

    def add(self, heading: Heading, case: str) -> None:
        self.cases.setdefault(heading, []).append(case)

    def put_first(self, heading: Heading) -> None:
        """Put what is wrong with the file as a whole before what is wrong with its parts."""
        self.cases = {heading: [""], **self.cases}

    def texts(self) -> tuple[str, ...]:
        return tuple(_describe(heading, cases) for heading, cases in self.cases.items())

    def raise_any(self, where: object, *, allow_partial: bool = False) -> None:
        """Raise one error that names every fault, or return when there is none that counts."""
        cases = {heading: named for heading, named in self.cases.items() if not (allow_partial and heading.partial)}
        if not cases:
            return
        headings = sorted(cases, key=lambda heading: _RANK.index(heading.error))
        what = joined("; ", [_describe(heading, cases[heading]) for heading in headings])
        final = [heading for heading in headings if not heading.partial] or headings
        raise headings[0].error(where, what, remedy=next(heading.remedy for heading in final))


def counted(text: str, count: int) -> str:
    """Fill a count, and the words that agree with it, into a text."""
    one = count == 1
    return text.format(
        n=count,
        s="" if one else "s",
        have="has" if one else "have",
        are="is" if one else "are",
        match="matches" if one else "match",
    )


def _describe(heading: Heading, cases: list[str]) -> Said:
    what = heading.of(len(cases))
    if named := first_few(case for case in cases if case):
        what = joined(": ", [what, named])
    return said("{what} ({expected})", what=what, expected=plain(heading.expected)) if heading.expected else what
