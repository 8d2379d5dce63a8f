"""The promise that opening a model fetches nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_FLAGS = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub, diffusers and transformers off the network inside the block."""
    import huggingface_hub.constants as hub  # reads its flag once, at import; so the flag is set there as well

    before = {name: os.environ.get(name) for name in _FLAGS}
    hub_before = hub.HF_HUB_OFFLINE
    os.environ.update(_FLAGS)
    hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = hub_before
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
