"""Quiet while other libraries are imported: the complaint of one about what nothing here uses."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Whose complaint, and a word of it: bitsandbytes misses an optional kernel that would only speed inference up.
_LOGGER, _WORD = "bitsandbytes.backends.cpu.ops", "gemm_4bit"

#: How transformers speaks to peft of an attribute that peft asks for by its old name.
_OLD_NAME = "`is_gradient_checkpointing` is deprecated"


@contextmanager
def quietly() -> Iterator[None]:
    """Let what is imported inside not complain; diffusers, transformers and peft import bitsandbytes if it is there."""
    log = logging.getLogger(_LOGGER)
    if _is_no_complaint in log.filters:  # asked for already, and somebody else will end it
        yield
        return
    hush()
    try:
        yield
    finally:
        log.removeFilter(_is_no_complaint)


def hush() -> None:
    """Let nothing that this process imports complain from now on: for a program, whose log is its user's to read."""
    logging.getLogger(_LOGGER).addFilter(_is_no_complaint)
    warnings.filterwarnings("ignore", message=_OLD_NAME, category=FutureWarning)


def _is_no_complaint(record: logging.LogRecord) -> bool:
    return _WORD not in str(record.msg)
