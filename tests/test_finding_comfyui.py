import sys
from pathlib import Path

import pytest
from comfyui.harness import finding


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    monkeypatch.setattr(finding, "NEEDED", ("json",))
    return monkeypatch


def make_comfyui(folder: Path) -> Path:
    for mark in finding.MARKS:
        file = folder / mark
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def test_comfyui_path_comes_before_the_usual_places(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    make_comfyui(tmp_path / "ComfyUI")
    named = make_comfyui(tmp_path / "elsewhere")
    no_settings.setenv("COMFYUI_PATH", str(named))
    assert finding.find_host(home=tmp_path).folder == named


def test_a_wrong_comfyui_path_is_said_and_no_other_taken(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    make_comfyui(tmp_path / "ComfyUI")
    no_settings.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(finding.NoHostError, match=r"COMFYUI_PATH: .* is no ComfyUI folder"):
        finding.find_host(home=tmp_path)


def test_the_comfyui_above_custom_nodes_comes_first(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    make_comfyui(tmp_path / "ComfyUI")
    above = make_comfyui(tmp_path / "where it is installed")
    assert finding.find_host(above / "custom_nodes" / "wanloom", home=tmp_path).folder == above


def test_without_a_comfyui_one_line_says_where_it_was_sought(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    with pytest.raises(finding.NoHostError) as caught:
        finding.find_host(tmp_path / "project", home=tmp_path)
    assert str(tmp_path / "comfy" / "ComfyUI") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_venv_this_python_runs_it(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    make_comfyui(tmp_path / "ComfyUI")
    assert finding.find_host(home=tmp_path).python == Path(sys.executable)


def test_a_python_that_lacks_packages_is_refused_with_their_names(
    tmp_path: Path, no_settings: pytest.MonkeyPatch
) -> None:
    make_comfyui(tmp_path / "ComfyUI")
    no_settings.setenv("COMFYUI_PYTHON", sys.executable)
    no_settings.setattr(finding, "NEEDED", ("json", "no_such_package"))
    with pytest.raises(finding.NoHostError, match=r"COMFYUI_PYTHON, .*, lacks no_such_package"):
        finding.find_host(home=tmp_path)
