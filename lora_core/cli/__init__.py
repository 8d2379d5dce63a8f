"""The command line, `lora-core` or `python -m lora_core`: one file per command."""

from .main import main

__all__ = ["main"]
