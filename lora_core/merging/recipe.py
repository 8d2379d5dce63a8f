"""What is asked of a merge: by which method, how small, and in which dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..checks import finite_number, known, whole_number
from ..errors import StackError
from ..wording import said

#: Side by side; the nearest of a rank; and the three that let changes which contradict each other give way.
Method = Literal["concat", "svd", "ties", "dare", "knots"]
METHODS: tuple[Method, ...] = get_args(Method)
#: The methods that keep some of the values alone.
SPARSE: tuple[Method, ...] = ("ties", "dare", "knots")

_EXACT = "Leave it out, or choose the method svd"


@dataclass(frozen=True)
class MergeRecipe:
    """How changes become one; valid when built.

    Attributes:
        method: None for `svd` where a size is asked for, else `concat`.
        rank: of every layer; a layer of fewer ranks keeps its own.
        energy: each layer gets as few ranks as hold this share of its squares.
        num_bytes: each file gets the ranks that hold most of its squares in so many bytes.
        density: the share of values that TIES, DARE and KnOTS keep; half of them by default.
        seed: of what DARE keeps; 0 by default.
        dtype: of the factors; None for that of the sources, or float32 where `concat` would be rounded by it.
    """

    method: Method | None = None
    rank: int | None = None
    energy: float | None = None
    num_bytes: int | None = None
    density: float | None = None
    seed: int | None = None
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        sizes = [name for name in ("rank", "energy", "num_bytes") if getattr(self, name) is not None]
        if len(sizes) > 1:
            what = said("{first} and {second} are both given", first=sizes[0], second=sizes[1])
            raise StackError("merge", what, expected="one of rank, energy and size", remedy="Leave one of them out")
        if self.rank is not None:
            whole_number(self.rank, "rank", StackError, low=1)
        if self.num_bytes is not None:
            whole_number(self.num_bytes, "size", StackError, low=1)
        if self.seed is not None:
            whole_number(self.seed, "seed", StackError, low=0)
        for name in ("energy", "density"):
            _share(getattr(self, name), name)
        object.__setattr__(self, "method", self.method or ("svd" if sizes else "concat"))
        known(self.method, METHODS, "method", StackError)
        if self.method == "concat" and sizes:
            what = said("{name} would do nothing with concat, which keeps everything", name=sizes[0])
            raise StackError("merge", what, remedy=_EXACT)
        for name, methods in (("density", SPARSE), ("seed", ("dare",))):
            if getattr(self, name) is not None and self.method not in methods:
                what = said("{name} would do nothing with {method}", name=name, method=str(self.method))
                expected = said("{methods}, which read it", methods=", ".join(methods))
                raise StackError("merge", what, expected=expected, remedy="Leave it out, or choose another method")

    @property
    def share(self) -> float:
        """The share of values that a sparse method keeps."""
        return 0.5 if self.density is None else self.density

    @property
    def is_smaller(self) -> bool:
        """True when some ranks are to be left out."""
        return (self.rank, self.energy, self.num_bytes) != (None, None, None)

    def to_dict(self) -> dict[str, object]:
        """Return what of it acts, as plain data."""
        sizes = {name: getattr(self, name) for name in ("rank", "energy", "num_bytes")}
        sparse = {"density": self.share} if self.method in SPARSE else {}
        seeded = {"seed": self.seed or 0} if self.method == "dare" else {}
        return {"method": self.method, **{k: v for k, v in sizes.items() if v is not None}, **sparse, **seeded}


def _share(value: float | None, name: str) -> None:
    if value is None:
        return
    if not 0 < finite_number(value, name, StackError) <= 1:
        what = said("{value:g} is no share", value=value)
        raise StackError(name, what, expected="above 0, up to 1", remedy="Choose a number in that range")
