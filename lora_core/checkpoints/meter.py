"""A meter of tensor memory: the bytes that tensors made inside a block of code hold at their peak."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryMeter(TorchDispatchMode):
    """A count of storages as operations make and drop them, on any device, meta tensors included.

    What existed before, or is memory-mapped from a file, weighs nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            self._meet(leaf, is_new=False)
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            self._meet(leaf, is_new=True)
        return result

    def _meet(self, leaf: object, *, is_new: bool) -> None:
        if not isinstance(leaf, Tensor):
            return
        storage = leaf.untyped_storage()
        if storage._cdata in self._known:
            return
        num_bytes = storage.nbytes() if is_new else 0
        self._known.add(storage._cdata)
        self.num_bytes += num_bytes
        self.peak = max(self.peak, self.num_bytes)
        weakref.finalize(storage, self._part, storage._cdata, num_bytes)

    def _part(self, address: int, num_bytes: int) -> None:
        self._known.discard(address)
        self.num_bytes -= num_bytes
