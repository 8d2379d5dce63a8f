"""The server with the extension in it comes up clean."""

import re

from harness.client import Client


def test_the_extension_is_loaded_within_0_3_seconds(comfy: Client) -> None:
    """The log gives tenths of a second; tests/comfyui/host/test_import.py measures finer."""
    line = re.search(r"([\d.]+) seconds(.*): .*custom_nodes/wanloom", comfy.log())
    assert line
    assert float(line[1]) <= 0.3
    assert line[2] == "", "the import failed"


def test_the_start_says_nothing_against_the_extension(comfy: Client) -> None:
    start = comfy.log().split("To see the GUI go to")[0].splitlines()
    assert not [line for line in start if "wanloom" in line and re.search("warn|error", line, re.I)]
