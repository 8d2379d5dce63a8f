"""A guide: a small opened model, the LoRAs on it, and how they steer the run of a larger one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checks import from_settings, typed
from ..errors import RequestError
from ..families.opened import OpenedModel
from ..plan.steering import SteerSettings
from ..stack.hashes import verify_hashes
from ..stack.loaded import LoadedStack
from ..stack.stack import LoraStack


@dataclass(frozen=True, eq=False)
class Guide:
    """A small model whose LoRAs steer a large one; see `plan/steering.py` for what that computes.

    Attributes:
        model: opened on the device of the large one. Its text encoder is not asked: it is told the large model's
            embeddings. Only a guide that continues a picture needs a VAE.
        stack: the LoRAs, made for the guide; loaded for it unless they are.
        settings: how strongly it steers, and when.
    """

    model: OpenedModel
    stack: LoraStack | LoadedStack
    settings: SteerSettings = field(default_factory=SteerSettings)

    def __post_init__(self) -> None:
        if not isinstance(self.stack, (LoraStack, LoadedStack)):
            what, remedy = f"{self.stack!r:.60} is no stack", "Make one of the rows with LoraStack.from_json"
            raise RequestError("guide", what, expected="a LoraStack, or a loaded one", remedy=remedy)
        if not isinstance(self.settings, SteerSettings):
            what, remedy = f"{self.settings!r:.60} are no settings", "Leave them out for the usual ones"
            raise RequestError("guide", what, expected="SteerSettings", remedy=remedy)

    @property
    def takes_pictures(self) -> bool:
        """Whether its kind of model is told of a picture at all."""
        return self.model.spec.image_conditioned or self.model.spec.expand_timesteps


@typed(RequestError)
def guide_from_record(record: Mapping[str, object], model: OpenedModel) -> Guide | None:
    """Return the guide of a record, None where the video had none; `model` is the guide's model, opened again.

    The LoRAs' files are compared with the hashes they had.
    """
    row: Any = record.get("guide")
    if row is None:
        return None
    if not (isinstance(row, dict) and isinstance(row.get("loras"), list) and isinstance(row.get("settings"), dict)):
        raise RequestError("record", "its 'guide' is damaged", remedy="Use the record as it was written")
    stack = LoraStack.from_json(row["loras"], "record guide")
    verify_hashes(stack)
    named = {name: tuple(value) if isinstance(value, list) else value for name, value in row["settings"].items()}
    return Guide(model, stack, from_settings(SteerSettings, named, "record guide", RequestError))
