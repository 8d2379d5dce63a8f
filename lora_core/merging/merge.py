"""The merging of a stack of LoRAs into one file, or a pair, that acts as the stack does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..checks import known, typed
from ..errors import StackError
from ..experts import Expert
from ..families.base import ModelSpec
from ..progress import Progress, unheard
from ..stack.loaded import LoadedStack
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from .bases import ReadBaseOf
from .half import ReadBase, merge_half
from .merged import Merged, MergedFile, merged_file
from .recipe import MergeRecipe
from .sources import acting, addends, left_out, not_held, sources, words_of

#: What becomes of a row whose effect changes over the run or the picture.
OverNoise = Literal["strength", "refuse"]


@typed(StackError)
def merge_loras(
    stack: LoadedStack | LoraStack,
    spec: ModelSpec | None = None,
    recipe: MergeRecipe | None = None,
    *,
    schedules: OverNoise = "strength",
    base: ReadBaseOf | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Make one LoRA of all that are on in a stack, at their strengths and with their target filters.

    The sum of the changes is merged layer by layer in the small core that they have in common. Where both experts get
    the same, one file serves them; else there is one for each. Biases, norms and tables are added in full.

    Args:
        stack: a stack that was loaded, or one to load for `spec`.
        spec: the model.
        recipe: the method and how small; side by side, which is exact, by default.
        schedules: let a row's strength stand for its schedule over noise and say so, or refuse it.
        base: reads the base's weights; DoRA and its relatives are refused without.
        progress: told of every layer.

    Raises:
        StackError: nothing acts, or a change cannot be merged as asked; it is named.
    """
    loaded = _loaded(stack, spec)
    known(schedules, ("strength", "refuse"), "schedules", StackError)
    recipe = recipe or MergeRecipe()
    files_read = [file for lora in loaded.loras for file in lora.files]
    notes = (*not_held(loaded, refuse=schedules == "refuse"), *left_out(files_read))
    parts = acting(loaded)
    if not parts:
        what = "no LoRA of it acts on the model"
        raise StackError(
            "stack", what, expected="a row that is on, with a strength other than 0", remedy="Switch one on"
        )
    report = _over(progress or unheard, len(parts))
    files: dict[Expert | None, MergedFile] = {}
    for place, (expert, loras) in enumerate(parts.items()):
        half = merge_half(addends(loras), recipe, _reader(base, expert), report(place))
        words = words_of([lora.weights for lora in loras])
        files[expert] = merged_file(half, sources(loaded, loras), recipe, expert, words)
    return Merged(files, recipe, notes)


def _loaded(stack: LoadedStack | LoraStack, spec: ModelSpec | None) -> LoadedStack:
    if isinstance(stack, LoraStack):
        if spec is None:
            raise StackError("merge_loras", "a stack without a model", remedy="Give the spec of the model")
        return load_stack(stack, spec)
    if spec is not None:
        stack.require(spec)
    return stack


def _reader(base: ReadBaseOf | None, expert: Expert | None) -> ReadBase | None:
    """Return what reads the base of one expert; of one file for two, nothing depends on it."""
    return None if base is None else lambda target: base(expert or "low_noise", target)


def _over(progress: Progress, num_parts: int) -> Callable[[int], Progress]:
    """Return, for each part of the work, who is told of its progress as of a share of the whole."""

    def of(place: int) -> Progress:
        def report(done: int, total: int, what: str) -> None:
            progress(place * total + done, num_parts * total, what)

        return report

    return of


def output_experts(loaded: LoadedStack) -> tuple[Expert | None, ...]:
    """Return the experts that a merge of this stack has a file for; None for one file that serves all."""
    return tuple(acting(loaded))
