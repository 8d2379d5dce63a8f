"""The ledger of a file that is being assembled: what becomes of each tensor, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .account import Account, Status, TensorRecord
from .containers.tensorfile import TensorInfo
from .faults import Faults
from .parts import Inapplicable, Unfit


@dataclass
class Ledger:
    """The records of a file's tensors, the last one written for each, and the faults of the file."""

    infos: Mapping[str, TensorInfo]
    records: dict[str, TensorRecord] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)

    def write(
        self, names: Iterable[str], status: Status, target: str | None, reason: str = "", nearest: str | None = None
    ) -> None:
        """Record what became of some tensors."""
        for name in names:
            shape, dtype = self.infos[name]
            text = str(dtype).removeprefix("torch.")
            self.records[name] = TensorRecord(name, status, target, shape, text, reason, nearest)

    def refuse(self, names: Iterable[str], target: str, unfit: Unfit) -> None:
        """Record tensors as unusable, and the fault."""
        self.faults.add(unfit.heading, unfit.case)
        self.write(names, unfit.status, target, unfit.heading.of_one)

    @contextmanager
    def refusing(self, names: Iterable[str], target: str) -> Iterator[None]:
        """Refuse these tensors if they turn out unfit inside the block, or say why they do not apply; it ends there."""
        try:
            yield
        except Inapplicable as reason:
            self.write(names, "not_applicable", target, reason.why)
        except Unfit as unfit:
            self.refuse(names, target, unfit)

    def account(self) -> Account:
        """Return the records in the file's order."""
        return Account(tuple(self.records[name] for name in self.infos))
