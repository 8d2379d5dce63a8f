"""What somebody says of a LoRA beside its file: rank, alpha and target modules."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import finite_number, number_text, whole_number
from ..errors import StackError
from ..wording import said


@dataclass(frozen=True)
class StatedLora:
    """What a caller says of a LoRA; where he says nothing, the file is asked.

    Attributes:
        rank: of every layer.
        alpha: of every layer. It counts where the file says none, as NVIDIA's do; without either it is the rank.
        target_modules: the layers it acts on, each by the end of its path (`q_proj`, `mlp.layer1`), as PEFT takes them.
    """

    rank: int | None = None
    alpha: float | None = None
    target_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank is not None:
            whole_number(self.rank, "LoRA rank", StackError, low=1)
        if self.alpha is not None and finite_number(self.alpha, "LoRA alpha", StackError) <= 0:
            what = said("{alpha} is out of range", alpha=number_text(self.alpha))
            raise StackError("LoRA alpha", what, expected="a number above 0", remedy="State the alpha of the training")


NOTHING_STATED = StatedLora()


def modules_in(text: str) -> tuple[str, ...]:
    """Return the target modules in a list with commas, each once.

    Raises:
        StackError: there is none in it.
    """
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    if not names:
        raise StackError(
            "target modules", "there is none", expected="a list such as q_proj,mlp.layer1", remedy="Name the modules"
        )
    return names
