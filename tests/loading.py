"""Stacks loaded for a model and routed or planned at once, as tests of routes and plans want them."""

from typing import Any

from lora_core import LoraStack, ModelSpec, Route, SamplingPlan, load_stack, make_plan, route


def routed(stack: LoraStack, spec: ModelSpec, **options: Any) -> Route:
    return route(load_stack(stack, spec, **options), spec)


def planned(stack: LoraStack, spec: ModelSpec, **settings: Any) -> SamplingPlan:
    return make_plan(load_stack(stack, spec), spec, **settings)
