from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lora_core.errors import OutputError
from lora_core.families.wan.spec import wan_spec
from lora_core.plan.planning import make_plan
from lora_core.plan.plot import _slots, _spread
from lora_core.plan.route import Route, RoutedLora
from lora_core.stack.schedule import StrengthSchedule

POCKET = wan_spec("wan-pocket")


@pytest.fixture
def drawn(monkeypatch):
    """Make a plan with one LoRA per name, every second one fading, the last on the high-noise expert alone."""
    monkeypatch.setattr(
        "lora_core.plan.planning.advise_on_plan", lambda draft: ()
    )  # these LoRAs have no files to judge

    def plan(*names, **settings):
        high, low = [], []
        for i, name in enumerate(names):
            schedule = StrengthSchedule.fade_out() if i % 2 else None
            for expert, half in (("high_noise", high), ("low_noise", low)):
                half.append(RoutedLora(name, i, expert, 1 - 0.1 * i, {}, {}, None, expert, schedule))
        return make_plan(Route(tuple(high), tuple(low[:-1])), POCKET, **settings)

    return plan


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def test_a_picture_names_experts_levels_boundary_and_loras(drawn):
    figure = drawn("speed", "neon style", "orbit").figure()
    assert isinstance(figure, Figure)
    shown = texts(figure)
    assert {"boundary\n0.875", "1.000", "0.909", "0.500"} <= set(shown)
    assert {"speed", "neon style", "orbit (high only)"} <= set(shown)
    assert any(text.startswith("high-noise expert") for text in shown)


def test_a_plan_is_saved_as_a_png_of_some_size(drawn, tmp_path):
    path = drawn("speed", "style").plot(tmp_path / "plan.png")
    with Image.open(path) as image:
        assert image.width == 1200
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    assert [file.name for file in tmp_path.iterdir()] == ["plan.png"]


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_other_formats_follow_the_suffix(drawn, tmp_path, suffix):
    assert drawn("speed").plot(tmp_path / f"plan{suffix}").stat().st_size > 1000


def test_a_plan_is_drawn_into_an_array_for_a_node(drawn):
    image = drawn("speed").image()
    assert image.dtype == np.uint8
    assert image.shape[1:] == (1200, 3)
    assert (image == 255).mean() > 0.2


def test_many_loras_make_the_picture_higher(drawn):
    few, many = (drawn(*(f"lora {i}" for i in range(count))).figure() for count in (2, 14))
    assert many.get_figheight() > few.get_figheight()


@pytest.mark.parametrize("name", ["cost $5 and $x^2", "風格 🎨", "tabs\tand\nlines", "_" * 200, "%s {x} \\alpha"])
def test_names_are_shown_as_they_are(drawn, name, tmp_path):
    assert drawn(name).plot(tmp_path / "plan.png").exists()


@pytest.mark.parametrize("settings", [{"num_steps": 2}, {"num_steps": 100}, {"sigmas": [1, 0.5, 0]}])
def test_plans_of_any_length_are_drawn(drawn, settings):
    assert drawn(**settings).image().size


def test_an_unknown_format_or_folder_is_refused(drawn, tmp_path):
    with pytest.raises(OutputError, match=r"plan\.pgn: unknown picture format '\.pgn' \(nearest: '\.png'\)\."):
        drawn().plot(tmp_path / "plan.pgn")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        drawn().plot(tmp_path / "file" / "plan.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_labels_are_spread_in_order_within_the_axes():
    places = _spread([1.0, 1.0, 1.0, 0.0], -0.1, 1.1, 0.2)
    ordered = sorted(places)
    assert all(b - a >= 0.2 - 1e-9 for a, b in pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] <= 1.0 + 1e-9
    assert _spread([0.2, 0.8], 0, 1, 0.1) == [0.2, 0.8]


def test_lines_on_each_other_get_slots_of_their_own():
    assert _slots([(1, 1, None), (1, 0, None), (0.5, 0.5, 0.5), (1, 0.5, 1)]) == [0, 1, 0, 2]
