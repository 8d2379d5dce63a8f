"""A model as commands name it that never run one: by its spec's name, or by a file whose header tells."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from ..families.base import ModelSpec
from ..families.wan.spec import WAN_SPEC_NAMES, wan_spec


def known_spec(model: str) -> ModelSpec:
    """Return the spec of a published model by name, of the pocket model, or of a checkpoint by its header."""
    if model in WAN_SPEC_NAMES:
        return wan_spec(model)
    if model != "pocket" and not Path(model).exists():
        expected = f"pocket, a checkpoint, or one of {', '.join(WAN_SPEC_NAMES)}"
        raise ModelError(model, "is no file and no model's name", expected=expected)
    from ..families.wan.open import open_wan

    return open_wan(model).spec
