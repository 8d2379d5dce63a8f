"""The lessons of a tuning: its rows as tokens, in the order in which they are learnt, and those that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...errors import TrainingError
from ...wording import said
from ..instructions import find_instructions
from ..rows.doctor import RowsReport, examine_rows
from ..rows.examples import Example, ExampleMaker
from ..rows.opening import config_of, open_maker
from ..rows.read import read_rows_file
from ..sources import LanguageSource
from .config import TuneConfig
from .order import order_of


@dataclass(frozen=True)
class Lessons:
    """What is learnt, in order.

    Attributes:
        maker: of the examples, with the model's tokenizer.
        examples: those of the rows, behind them those of the rehearsal.
        num_rows: how many of them are rows.
        order: which comes when.
        step_size: how many a step takes.
        held_out: what is only measured.
        report: what was found of all files.
    """

    maker: ExampleMaker
    examples: list[Example]
    num_rows: int
    order: list[int]
    step_size: int
    held_out: list[Example]
    report: RowsReport

    def num_tokens(self, step: int) -> int:
        """Return how many tokens the rows of a step have, from 1, without padding."""
        places = self.order[(step - 1) * self.step_size : step * self.step_size]
        return sum(self._lengths[place] for place in places)

    @property
    def longest(self) -> int:
        """The tokens of the longest row."""
        return max(self._lengths)

    @property
    def num_left_out(self) -> int:
        """How many rows are too long to be learnt."""
        return len(self.report.files[0].left_out)

    @cached_property
    def _lengths(self) -> list[int]:
        return [len(example.input_ids) for example in self.examples]


def lessons_of(config: TuneConfig, source: LanguageSource) -> Lessons:
    """Read the rows of a configuration, as its model is given them; the model's weights are not read.

    Raises:
        DatasetError: rows cannot be used.
        ModelError: the model's tokenizer or chat template does not do.
        TrainingError: the model has no room for so long rows.
    """
    maker = open_maker(source, find_instructions(config.system).text)
    most = getattr(config_of(source), "max_position_embeddings", None) or config.max_length
    if config.max_length > most:
        what = said("{length:,} tokens, and the model has {most:,} places", length=config.max_length, most=most)
        raise TrainingError("max_length", what, remedy="Lower it")
    report = _examined(config, maker)
    rows, held_out, rehearsal = (
        next((file.examples for file in report.files if str(file.file.path) == path), ())
        for path in (config.rows, config.held_out_rows, config.rehearsal_rows)
    )
    size = config.batch_size * config.accumulation
    order = order_of(len(rows), len(rehearsal), config.rehearsal_share, config.steps * size, config.seed)
    return Lessons(maker, [*rows, *rehearsal], len(rows), order, size, list(held_out), report)


def _examined(config: TuneConfig, maker: ExampleMaker) -> RowsReport:
    """Examine the files of a configuration: its rows, those that are held out, and those that are known already."""
    leaves_out = config.long_rows == "leave_out"
    held_out, known = (read_rows_file(path) if path else None for path in (config.held_out_rows, config.rehearsal_rows))
    rows = read_rows_file(config.rows)
    report = examine_rows(rows, held_out, maker, config.max_length, rehearsal=known, leaves_out=leaves_out)
    report.check()
    return report
