"""The command `refine`, and the refiners of `generate` and `batch`: what is shown, written and refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_core.engine.generate import generate
from lora_core.engine.generator import WanVideoGenerator
from lora_core.engine.record import request_from_record
from lora_core.families.registry import opener
from lora_core.refiner import local
from lora_core.refiner.card import RefinerCard

Run = Callable[..., tuple[int, str, str]]
REQUEST = "crimson ball rising over zebra lines"
CAPTION = "a red circle moves up on a striped background"
SHOUT = f'"{sys.executable}" -c "print(input().upper())"'
SMALL = ("--steps", "2", "--size", "32x32", "--frames", "5")


def test_prompts_are_shown_before_and_after(run: Run) -> None:
    code, out, err = run("refine", REQUEST, "a lilac zibbo, going up", "--lora", "zibbo_character")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [f"before: {REQUEST}", f"after:  {CAPTION}", "before: a lilac zibbo, going up"]
    assert out.splitlines()[-1] == "kept:   zibbo"


def test_before_and_after_are_written_as_json(run: Run, tmp_path: Path) -> None:
    code, out, err = run("refine", "text", REQUEST, "--json", "-")
    row = json.loads(out)[0]
    assert (code, row["given"], row["prompt"], row["fault"], row["kept"]) == (0, REQUEST, CAPTION, None, [])
    assert f"after:  {CAPTION}" in err
    run("refine", REQUEST, "--json", tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text())[0]["digest"] == row["digest"]


def test_a_refiner_that_fails_is_told_of_and_the_prompt_stays(run: Run) -> None:
    code, out, err = run("--quiet", "refine", "a zibbo", "--keep", "zibbo", "--refiner", SHOUT)
    assert (code, out) == (0, "before: a zibbo\nafter:  a zibbo\nkept:   zibbo\n")
    assert err == "refiner: it lost the word 'zibbo' in 'A ZIBBO'; the prompt is used as it was\n"
    code, _, err = run("refine", "a cat", "--refine-url", "http://127.0.0.1:9")
    assert (code, "http://127.0.0.1:9 cannot be asked" in err) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "none"), "Error: none: does not exist (pocket-lm, the folder of a language model"),
        (("--instructions", "cosmo"), "Error: instructions: there are no instructions 'cosmo', and no file "),
        (("--refiner", "no-such-thing"), "Error: refiner: there is no command 'no-such-thing'"),
        (("--refine-url", "127.0.0.1"), "Error: refiner url: '127.0.0.1' is no address of a server"),
        (("--refiner", SHOUT, "--model", "x"), "Error: --model: it would do nothing with --refiner. Leave it out."),
        (("--refine-url", "http://x", "--anew"), "Error: --anew: it would do nothing with --refine-url."),
        (("--refiner-seconds", "3"), "Error: --refiner-seconds: it would do nothing with a language model."),
        (("--max-tokens", "0"), "Error: refiner max_tokens: 0 is out of range (at least 1)."),
    ],
)
def test_what_names_no_refiner_is_an_error_at_once(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run("refine", "a cat", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(said)


def test_an_adapter_whose_base_has_moved_is_given_beside_it(run: Run, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    adapter, pocket = tmp_path / "adapter", local.open_language_model("pocket-lm", device="cpu").network
    get_peft_model(pocket, LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(adapter)
    RefinerCard(method="lora", base="/has/moved").write(adapter)
    code, _, err = run("refine", REQUEST, "--model", adapter)
    assert (code, "it is an adapter on '/has/moved', which is not here. Give its base as the model" in err) == (1, True)
    code, out, err = run("refine", REQUEST, "--model", "pocket-lm", "--adapter", adapter)
    assert (code, out.splitlines()[1], err) == (0, f"after:  {CAPTION}", "")


def test_a_prompt_that_leaves_the_machine_is_told_of(run: Run) -> None:
    _, _, err = run("refine", "a cat", "--refine-url", "http://192.0.2.1:9", "--refiner-seconds", "0.1")
    assert err.startswith("prompts leave this machine for http://192.0.2.1:9\n")


def test_a_video_is_made_of_the_refined_prompt_and_its_record_makes_it_again(run: Run, tmp_path: Path) -> None:
    asked = ("generate", "-p", "crimson zibbo rising over zebra lines", *SMALL, "--lora", "zibbo_character", "--refine")
    code, _, err = run(*asked, "-o", tmp_path / "a.mkv", "--json", tmp_path / "a.json")
    refined = "a red zibbo moves up on a striped background"
    assert code == 0, err
    assert f"refiner: the prompt is now '{refined}'" in err
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["refiner"]["given"], record["refiner"]["kept"]) == (asked[2], ["zibbo"])
    assert record["refiner"]["prompt"] == record["request"]["prompt"] == refined
    again = request_from_record(record)
    assert again.prompt == refined
    plain = generate(opener("pocket")("pocket"), again)
    assert "refiner" not in plain.record


def test_a_generator_refines_every_prompt_with_its_refiner() -> None:
    generator = WanVideoGenerator("pocket", refiner=lambda prompt: f"{prompt} on a plain background")
    video = generator.generate_video("a red circle moves up", num_steps=1, width=32, height=32, num_frames=5)
    assert video.record["request"]["prompt"] == "a red circle moves up on a plain background"
    other = generator.generate_video("a", refiner=str.upper, num_steps=1, width=32, height=32, num_frames=5)
    assert other.record["request"]["prompt"] == "A"


def test_a_list_of_jobs_is_refined_by_one_opening_and_not_made_twice(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened = []
    opening = local.open_language_model
    monkeypatch.setattr(local, "open_language_model", lambda *a, **b: opened.append(a) or opening(*a, **b))
    jobs = [{"prompt": REQUEST}, {"prompt": "ein blaues Viereck nach links"}]
    defaults = {"steps": 1, "frames": 5, "size": "32x32"}
    (tmp_path / "jobs.json").write_text(json.dumps({"defaults": defaults, "jobs": jobs}))
    asked = ("batch", "--refine", "pocket-lm", tmp_path / "jobs.json", "-o", tmp_path)
    code, out, err = run(*asked)
    assert (code, out) == (0, "2 of 2 jobs done by 1 worker\n"), err
    record = json.loads((tmp_path / "001.mp4.json").read_text())
    assert (record["refiner"]["given"], record["request"]["prompt"]) == (REQUEST, CAPTION)
    assert len(opened) == 1
    assert run(*asked)[1] == "0 of 2 jobs done by 0 workers, 2 done before\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--refine", "--refiner", "cat"), "--refine: there is --refiner beside it. Give one of the two."),
        (("--refine-url", "http://x", "--refiner", "cat"), "--refine-url: there is --refiner beside it."),
        (("--refine-adapter", "x"), "--refine-adapter: there is no language model here that it could act on."),
        (("--refine", "--refiner-seconds", "3"), "--refiner-seconds: there is no --refiner and no --refine-url."),
        (("--refine", "none"), "none: does not exist"),
    ],
)
def test_refiners_that_do_not_go_together_are_an_error_before_anything_is_made(
    run: Run, arguments, said, tmp_path
) -> None:
    code, _, err = run("generate", "-p", "a cat", *arguments, "-o", tmp_path / "a.mp4")
    assert (code, err.splitlines()[-1].startswith(f"Error: {said}")) == (1, True), err
    assert list(tmp_path.iterdir()) == []
