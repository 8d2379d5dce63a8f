"""The steering of a run: where a guide acts and how strongly, what it costs, and which guides are refused."""

from dataclasses import replace

import pytest

from lora_core import LoraStack, RunSettings, SteerSettings, StrengthSchedule, load_stack, make_plan, steered, wan_spec
from lora_core.errors import ModelError, PlanError
from lora_core.plan.steering import cost_text, pass_flops, steering_cost

LARGE, SMALL = wan_spec("wan2.2-t2v-a14b"), wan_spec("wan2.1-t2v-1.3b")
POCKET = wan_spec("wan-pocket")
USUAL = RunSettings(num_steps=6)


def pocket_stack(*names):
    return load_stack(LoraStack.from_json(list(names), "test"), POCKET)


def steer(loras=("zibbo_character",), on=(), run=USUAL, spec=POCKET, guide=POCKET, **settings):
    plan = make_plan(pocket_stack(*on), spec, run)
    return steered(plan, spec, guide, pocket_stack(*loras), run, SteerSettings(**settings))


def test_a_guide_steers_every_step_at_one_strength_unless_told_otherwise():
    plan = steer(strength=0.5)
    assert plan.steering.strengths == (0.5,) * 6
    assert [step.sigma for step in plan.steering.plan.steps] == [step.sigma for step in plan.steps]
    assert all(step.strengths == (1.0,) for step in plan.steering.plan.steps)


def test_a_schedule_and_a_limit_shape_it_by_noise_level():
    plan = steer(strength=2.0, schedule="linear:1:0:1:0.5", above=0.8)
    sigmas = [step.sigma for step in plan.steps]
    expected = [2.0 * (sigma - 0.5) / 0.5 if sigma >= 0.8 else 0.0 for sigma in sigmas]
    assert plan.steering.strengths == pytest.approx(expected)
    assert plan.steering.acting == (True, True, True, True, False, False)
    by_steps = steer(schedule=StrengthSchedule.by_steps([(0, 1), (0.5, 0)], "hold"))
    assert by_steps.steering.strengths == (1, 1, 1, 0, 0, 0)


def test_on_a_distilled_run_it_rests_at_low_noise_and_says_so():
    plan = steer(on=("speed_6steps",))
    assert plan.steering.acting == (True, True, True, False, False, False)
    (rests,) = [advice for advice in plan.advice if advice.rule == "guide-rests"]
    assert "rests below sigma 0.875 (step 4, 5, 6)" in rests.text
    throughout = steer(on=("speed_6steps",), above=None)
    assert all(throughout.steering.acting)
    assert "guide-on-distilled" in [advice.rule for advice in throughout.advice]


def test_the_guide_has_the_run_s_guidance_unless_it_is_given_its_own():
    run = RunSettings(num_steps=6, cfg=(3.5, 2.0))
    assert [step.cfg for step in steer(run=run).steering.plan.steps] == [3.5] * 3 + [2.0] * 3
    own = steer(run=run, cfg=1.0)
    assert [step.cfg for step in own.steering.plan.steps] == [1.0] * 6
    assert own.reads_negative
    assert not steer().reads_negative
    assert steer(cfg=4.0).reads_negative


def test_the_plan_tells_of_it_in_words_in_data_and_in_parts():
    plan = steer(strength=0.5, above=0.9)
    assert "steered at 3 of 6 steps, lambda 0.5, 0.5, 0.5, 0, 0, 0, by\nWan pocket: 6 steps" in plan.table()
    row = plan.to_dict()["steering"]
    assert row["strengths"] == [0.5, 0.5, 0.5, 0, 0, 0]
    assert row["plan"]["loras"][0]["name"] == "zibbo_character"
    assert "steered by Wan pocket" in [text.get_text() for axes in plan.figure().axes for text in axes.texts]
    part = plan.part(2, 5)
    assert part.steering.strengths == (0.5, 0, 0)
    assert [step.index for step in part.steering.plan.steps] == [2, 3, 4]
    assert "steering" not in make_plan(pocket_stack(), POCKET, USUAL).to_dict()


def test_a_small_wan_beside_the_14b_costs_a_third_more():
    """The published sizes: one pass of the 1.3B is 16 % of one of the 14B at 480p, 18 % at 720p."""
    at_480p, at_720p = (1, 16, 21, 60, 104), (1, 16, 21, 90, 160)
    shares = [pass_flops(SMALL, latents) / pass_flops(LARGE, latents) for latents in (at_480p, at_720p)]
    assert shares == pytest.approx([0.158, 0.184], abs=0.004)
    plan = replace(steer(), steering=None)
    plan = steered(plan, POCKET, POCKET, pocket_stack("zibbo_character"), USUAL, SteerSettings())
    assert steering_cost(plan, LARGE, SMALL, at_480p) == pytest.approx(0.32, abs=0.01)
    half = steer(above=0.9)
    assert steering_cost(half, LARGE, SMALL, at_480p) == pytest.approx(0.16, abs=0.01)
    assert "runs twice at 3 of 6 steps, 16% more arithmetic" in cost_text(half, LARGE, SMALL, at_480p)


@pytest.mark.parametrize(
    ("guide", "what"),
    [
        (wan_spec("wan2.2-ti2v-5b"), "latent channels: 48 and 16"),
        (replace(POCKET, vae_stride=(4, 16, 16)), "pixels per latent element"),
        (SMALL, "width of embedded texts: 4096 and 64"),
        (replace(POCKET, family="other"), "family of models: other and wan"),
        (replace(POCKET, image_conditioned=True), "continues a picture"),
    ],
)
def test_a_guide_on_other_latents_or_texts_is_refused(guide, what):
    with pytest.raises(ModelError, match=what):
        steer(guide=guide)


def test_a_guide_that_would_change_nothing_is_refused():
    with pytest.raises(PlanError, match="no LoRA acts on it"):
        steer(loras=())
    with pytest.raises(PlanError, match="no LoRA acts on it"):
        steer(loras=({"path": "zibbo_character", "weight": 0},))
    assert "guide-never-acts" in [advice.rule for advice in steer(strength=0).advice]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"strength": float("nan")}, "guide: strength: nan is not finite"),
        ({"above": 1.5}, "guide: above: 1.5 is no noise level"),
        ({"above": "boundary"}, "guide: above: 'boundary' is not a number"),
        ({"cfg": -1}, "cfg: -1 is negative"),
        ({"schedule": "sideways"}, "schedule: unknown shape 'sideways'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, error):
    with pytest.raises(Exception, match=error):
        SteerSettings(**settings)


def test_settings_are_read_back_from_their_row():
    settings = SteerSettings(strength=0.7, schedule="fade_out", above=None, cfg=(3.0, 1.0))
    row = settings.to_json()
    assert SteerSettings(**{**row, "cfg": tuple(row["cfg"])}) == settings
