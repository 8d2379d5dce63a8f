"""What ComfyUI-Manager installs is what pyproject states, and nothing that could exchange the host's torch."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PROJECT = Path(__file__).parents[1]
STATED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_the_managers_requirements_are_those_of_the_package() -> None:
    assert (PROJECT / "requirements.txt").read_text().split("\n") == [*STATED, ""]


def test_no_requirement_names_an_exact_or_highest_version() -> None:
    assert [line for line in STATED if not re.fullmatch(r"[a-z-]+>=[\d.]+", line)] == []
