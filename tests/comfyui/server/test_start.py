"""The server with the extension in it comes up clean."""

import re

from harness.client import Client


def test_the_extension_is_loaded(comfy: Client) -> None:
    line = re.search(r"seconds(.*): .*custom_nodes/wanloom", comfy.log())
    assert line
    assert line[1] == "", "the import failed"


def test_the_start_says_nothing_against_the_extension(comfy: Client) -> None:
    start = comfy.log().split("To see the GUI go to")[0].splitlines()
    assert not [line for line in start if "wanloom" in line and re.search("warn|error", line, re.I)]
