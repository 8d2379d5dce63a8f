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


def test_the_managers_requirements_are_those_of_the_package_but_for_torch_which_is_the_hosts() -> None:
    wanted = [line for line in STATED if not line.startswith("torch>=")]
    assert (PROJECT / "requirements.txt").read_text().split("\n") == [*wanted, ""]


def test_no_requirement_names_an_exact_or_highest_version() -> None:
    assert [line for line in STATED if not re.fullmatch(r"[a-z-]+>=[\d.]+", line)] == []
