"""The packages of the extra `refine`, without which nothing can be tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec

from ...errors import TrainingError
from ...wording import said
from .config import TuneConfig

#: Package -> whether a configuration needs it.
_PACKAGES: Mapping[str, Callable[[TuneConfig], bool]] = {
    "trl": lambda config: True,
    "datasets": lambda config: True,
    "accelerate": lambda config: True,
    "peft": lambda config: config.method != "full",
    "bitsandbytes": lambda config: (
        config.method == "qlora" or "8bit" in config.optimizer or "paged" in config.optimizer
    ),
    "gguf": lambda config: config.model.lower().endswith(".gguf"),
}
#: TRL's defaults, and what of it is replaced here, change from release to release.
TRL = "1.16.0"
_REMEDY = 'Run `pip install "wanloom[refine]"`'


def check_installed(config: TuneConfig) -> None:
    """Raise where a package is missing that a configuration needs, or TRL is another than this was made for."""
    missing = [name for name, needs in _PACKAGES.items() if needs(config) and find_spec(name) is None]
    if missing:
        what = said("tuning needs {packages}, not there", packages=", ".join(missing))
        raise TrainingError("tuning", what, remedy=_REMEDY)
    if (there := version("trl")) != TRL:
        what = said("{name} {version} is another one", name="trl", version=there)
        raise TrainingError("tuning", what, expected=TRL, remedy=_REMEDY)
