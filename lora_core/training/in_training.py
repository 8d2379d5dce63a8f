"""An opened model whose experts are the ones in training, as samplers see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ..experts import Expert
from ..families.opened import OpenedModel
from .learner import Learner


class ModelInTraining:
    """A model like the one it was opened as, but for the experts that learn."""

    def __init__(self, model: OpenedModel, learners: Mapping[Expert, Learner]) -> None:
        self._model, self._learners = model, learners

    def expert(self, name: Expert) -> nn.Module:
        """Return an expert's network as it is now, ready on the compute device."""
        if name not in self._learners:
            return self._model.expert(name)
        if self._model.offload != "none":
            for other, learner in self._learners.items():
                if other != name:
                    learner.rest()
        self._learners[name].use()
        return self._learners[name].trainee.network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@contextmanager
def judged_model(model: OpenedModel, learners: Mapping[Expert, Learner]) -> Iterator[OpenedModel]:
    """Give the model as it would be written now, without dropout, its weights averaged where they are."""
    with ExitStack() as stack:
        for learner in learners.values():
            stack.enter_context(learner.judged())
        yield ModelInTraining(model, learners)
