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
#: A package, its lowest version, and for which Pythons it is needed.
LOWEST = re.compile(r"[a-z-]+>=[\d.]+(; python_version < '[\d.]+')?")
STATED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_the_managers_requirements_are_those_of_the_package_but_for_torch_which_is_the_hosts() -> None:
    wanted = [line for line in STATED if not line.startswith("torch>=")]
    assert (PROJECT / "requirements.txt").read_text().split("\n") == [*wanted, ""]


def test_no_requirement_names_an_exact_or_highest_version() -> None:
    assert [line for line in STATED if not LOWEST.fullmatch(line)] == []


def test_what_tunes_refiners_is_bounded_to_what_it_was_run_with() -> None:
    extra = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["refine"]
    bounded = [re.fullmatch(r"([a-z]+)(==[\d.]+|>=[\d.]+,<\d+)", line) for line in extra]
    assert [found and found[1] for found in bounded] == [
        "trl",
        "transformers",
        "peft",
        "accelerate",
        "datasets",
        "bitsandbytes",
        "gguf",
    ]


def test_the_lowest_versions_of_what_the_tests_use_are_the_ones_that_are_tried() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    used = [*STATED, *extras["gguf"], *extras["train"], extras["trackers"][0]]
    tried = (PROJECT / "tests" / "lowest.txt").read_text().splitlines()
    assert tried == [line.replace(">=", "==") for line in used]
