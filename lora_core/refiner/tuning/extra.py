"""The packages of the extra `refine`, without which nothing can be tuned."""

from __future__ import annotations

from importlib.util import find_spec

from ...errors import TrainingError
from ...wording import said
from .config import TuneConfig

#: Package -> whether a configuration needs it.
_PACKAGES = {
    "trl": lambda config: True,
    "datasets": lambda config: True,
    "accelerate": lambda config: True,
    "peft": lambda config: config.method != "full",
    "bitsandbytes": lambda config: (
        config.method == "qlora" or "8bit" in config.optimizer or "paged" in config.optimizer
    ),
    "gguf": lambda config: config.model.lower().endswith(".gguf"),
}


def check_installed(config: TuneConfig) -> None:
    """Raise where a package is missing that a configuration needs."""
    missing = [name for name, needs in _PACKAGES.items() if needs(config) and find_spec(name) is None]
    if missing:
        what = said("tuning needs {packages}, not there", packages=", ".join(missing))
        raise TrainingError("tuning", what, remedy='Run `pip install "wanloom[refine]"`')
