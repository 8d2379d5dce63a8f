"""Flow matching, what Wan was trained by: predict the velocity from clip to noise.

x_t = (1 - t) clip + t noise, and the network predicts noise - clip; the loss is the mean square of the difference, in
float32, every level weighing the same (arXiv 2210.02747; arXiv 2503.20314, section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..batches import Batch
from .objective import Call


def flow(call: Call, batch: Batch) -> Iterator[Tensor]:
    """Yield the loss of a batch; frames that the model is given as they are have no part in it."""
    error = call(batch.noisy, batch.level, batch.condition) - batch.velocity
    yield error[:, :, batch.condition.num_known :].square().mean()
