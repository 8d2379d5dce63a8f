"""What the reports of all comparisons have alike: that one is not over, and on what machine it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..checks import counted


def not_over(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is missing of a comparison."""
    if not data["is_over"]:
        missing = [row["name"] for row in data["runs"] if row["state"] in ("begun", "not begun")]
        lacking = counted(len(missing), "training") if missing else "nothing but videos"
        yield f"*This comparison is not over: {lacking} and what follows from it is missing.*"
        yield ""


def machine_rows(environment: Mapping[str, Any], *more: str) -> Iterator[str]:
    """Yield the heading, the machine with what `more` is to be said of it, and the versions of packages."""
    machine = environment["machine"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB" if machine["memory_bytes"] else "unknown memory"
    cores = counted(machine["num_cores_allowed"], "core")
    devices = ", ".join(str(device["name"]) for device in environment["devices"]) or "no GPU"
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    yield "## Machine, versions, hashes"
    yield ""
    yield "- " + "; ".join((f"{machine['processor']}, {cores}, {memory}", devices, *more, environment["system"]))
    yield f"- Python {environment['python']}, {packages}"
