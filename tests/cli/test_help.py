"""The pages of help and the completion: what they say runs, and nothing heavy is loaded to say it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import lora_core
from lora_core.cli.main import cli
from lora_core.cli.verb import Verb

HEAVY = {"torch", "numpy", "PIL", "matplotlib", "diffusers", "transformers"}
RUN = """
import sys
from lora_core.cli import main
try:
    main()
finally:
    print("loaded:", *sorted(set(sys.modules)), file=sys.stderr)
"""
#: Shows one page of help after the other, and says behind each what is loaded by then.
PAGES = """
import json, sys
from click.testing import CliRunner
from lora_core.cli.main import cli
for path in json.loads(sys.argv[1]):
    page = CliRunner().invoke(cli, [*path, "--help"], prog_name="lora-core").output
    print(json.dumps([page, sorted(sys.modules)]))
"""


def verbs(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it, groups too."""
    yield path, group
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from verbs(command, (*path, name))
            else:
                yield (*path, name), command


VERBS = dict(verbs())
EXAMPLES = {path: command.examples for path, command in VERBS.items() if isinstance(command, Verb)}


def loaded_by(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Run the program in a process of its own; return what it printed, and the modules it had loaded at its end."""
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    said, _, modules = done.stderr.rpartition("loaded:")
    assert (done.returncode, said) == (0, ""), said
    return done.stdout, set(modules.split())


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, ...], tuple[str, set[str]]]:
    """Show every page in one process; return each, and what was loaded when it stood there."""
    command = [sys.executable, "-c", PAGES, json.dumps(list(VERBS))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    return {path: (page, set(modules)) for path, (page, modules) in zip(VERBS, shown, strict=True)}


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_a_page_of_help_loads_nothing_heavy(path: tuple[str, ...], pages) -> None:
    page, modules = pages[path]
    assert page.startswith(" ".join(("Usage: lora-core", *path)))
    assert HEAVY & modules == set()


def test_every_verb_has_examples_each_on_lines_of_its_own() -> None:
    assert {path for path, command in VERBS.items() if not isinstance(command, click.Group)} == set(EXAMPLES)
    for path, examples in EXAMPLES.items():
        out = CliRunner().invoke(cli, [*path, "--help"]).output
        assert examples
        assert "\b" not in out
        assert "\\b" not in out
        for line in "\n".join(examples).splitlines():
            assert f"  {line}\n" in out


@pytest.fixture(scope="module")
def shipped_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `examples/` for all the examples here, so that its clips are encoded once, and a third of them."""
    fewer = shutil.ignore_patterns("blorp-[cgs]*", "yellow-*", "red-cross-*")
    beside = tmp_path_factory.mktemp("x")
    return shutil.copytree(Path(lora_core.__file__).parents[1] / "examples", beside / "examples", ignore=fewer)


#: The demo's example is run by test_demo.py, which looks at what it makes; that of `refine compare` takes an hour, and
#: tests/comparison/refiners runs a smaller one.
ELSEWHERE = {("demo",), ("refine", "compare")}
#: That of `compare` takes three processes; tests/comparison stops one like it, and goes on with it by the command.
SLOW = set() if os.environ.get("EVERY_EXAMPLE") else {("compare",)}


@pytest.mark.parametrize("path", sorted(EXAMPLES.keys() - ELSEWHERE - SLOW), ids=" ".join)
def test_the_examples_run_as_they_are_pasted(
    path: tuple[str, ...], shipped_examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(shipped_examples, target_is_directory=True)
    (tmp_path / "configs").symlink_to(Path(lora_core.__file__).parents[1] / "configs", target_is_directory=True)
    for example in EXAMPLES[path]:
        program, *arguments = shlex.split(example.replace("\\\n", ""))
        ended = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert (program, ended.exit_code) == ("lora-core", 0), ended.output


@pytest.mark.parametrize(
    ("shell", "words", "offered"),
    [
        ("bash", ("gen",), "generate"),
        ("bash", ("plan", "--lora"), "--lora-folder"),
        ("bash", ("inspect", "zib"), "zibbo_character"),
        ("bash", ("inspect", "neon_style", "--pl"), "--plot"),
        *((shell, ("plan", "--lora", "neon"), "neon_style") for shell in ("bash", "zsh", "fish")),
    ],
)
def test_completion_offers_verbs_options_and_embedded_loras_at_once(
    shell: str, words: tuple[str, ...], offered: str
) -> None:
    at = words[-1] if shell == "fish" else str(len(words))
    typed = {"COMP_WORDS": shlex.join(("lora-core", *words)), "COMP_CWORD": at}
    out, modules = loaded_by(_LORA_CORE_COMPLETE=f"{shell}_complete", **typed)
    assert offered in out
    assert HEAVY & modules == set()


@pytest.mark.parametrize("shell", ["zsh", "fish"])  # click asks an installed bash for its version first
def test_the_shell_is_told_how_to_complete(shell: str) -> None:
    assert "_LORA_CORE_COMPLETE" in loaded_by(_LORA_CORE_COMPLETE=f"{shell}_source")[0]


def test_a_page_of_help_computes_for_less_than_0_4_seconds() -> None:
    timed = f"import atexit, time\natexit.register(lambda: print(time.process_time()))\n{RUN}"
    command = [sys.executable, "-c", timed, "generate", "--help"]
    pages = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    assert min(float(page.splitlines()[-1]) for page in pages) < 0.4
