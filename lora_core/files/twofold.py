"""The choice between weights and their moving average (EMA), where a training's file holds both."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import LoraFileError
from ..wording import Said, said
from .containers.tensorfile import TensorFile
from .dialects import Label


class Chosen(NamedTuple):
    """Which of a file's tensors count.

    Attributes:
        labels: of those.
        others: of those passed over.
        why: the reason to give for them.
        note: what a reader should know of the choice, or "".
    """

    labels: tuple[Label, ...]
    others: tuple[Label, ...] = ()
    why: Said | str = ""
    note: Said | str = ""


def chosen(labels: tuple[Label, ...], file: TensorFile, *, average: bool) -> Chosen:
    """Choose the weights themselves or, with `average`, their moving average; what there is alone is taken.

    Raises:
        LoraFileError: the average is asked for, and the file has none of a LoRA.
    """
    parts = [label for label in labels if label.leaf is not None]
    has_average = any(label.place.average for label in parts)
    if average and not has_average:
        raise LoraFileError(
            file.path,
            "it holds no moving average (EMA) of its LoRA",
            expected="names such as net_ema.blocks.0.…",
            remedy="Take the weights themselves, without EMA",
        )
    if not has_average:
        return Chosen(labels)
    if all(label.place.average for label in parts):
        note = "" if average else said("it holds the moving average (EMA) of a LoRA alone, which is taken")
        return Chosen(labels, note=note)
    why = (
        said("the weights themselves, of which the moving average (EMA) is taken")
        if average
        else said("the moving average (EMA) of weights that are taken themselves")
    )
    kept = tuple(label for label in labels if label.leaf is None or label.place.average == average)
    others = tuple(label for label in labels if label.leaf is not None and label.place.average != average)
    return Chosen(kept, others, why)
