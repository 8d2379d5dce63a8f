"""The command line, `lora-core` or `python -m lora_core`: one file per command."""

import sys

from .ending import INTERRUPTED

try:
    from .main import main
except KeyboardInterrupt:  # a user who thinks better of it while this is imported
    sys.stderr.write(f"{INTERRUPTED}\n")
    raise SystemExit(130) from None

__all__ = ["main"]
