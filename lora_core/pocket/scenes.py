"""Which scenes the pocket models are shown, and which mixtures of words are kept for measuring."""

import itertools
from functools import cache

import numpy as np

from . import world

NUM_HELD_OUT = 64


@cache
def held_out_words() -> tuple[tuple[str, str, str, str], ...]:
    """List the (colour, shape, direction, background) mixtures that nothing is trained on, kept for measuring."""
    mixtures = list(itertools.product(world.COLOURS, world.SHAPES, world.DIRECTIONS, world.BACKGROUNDS))
    order = np.random.default_rng(20).permutation(len(mixtures))
    return tuple(mixtures[index] for index in order[:NUM_HELD_OUT])


def training_scenes(seed: int, num_scenes: int, **words: str | bool) -> list[world.Scene]:
    """Draw scenes with the given words, none of them a held-out mixture."""
    rng, held_out = np.random.default_rng(seed), set(held_out_words())
    scenes: list[world.Scene] = []
    while len(scenes) < num_scenes:
        scene = world.random_scene(rng, **words)
        if (scene.colour, scene.shape, scene.motion, scene.background) not in held_out:
            scenes.append(scene)
    return scenes


def held_out_scenes(num_scenes: int, **words: str | bool) -> list[world.Scene]:
    """List scenes of the mixtures kept for measuring; `words` replace what a LoRA is asked for instead."""
    rng, mixtures = np.random.default_rng(0), held_out_words()
    scenes = []
    for index in range(num_scenes):
        colour, shape, motion, background = mixtures[index % len(mixtures)]
        asked = {"colour": colour, "shape": shape, "motion": motion, "background": background, **words}
        scenes.append(world.random_scene(rng, **asked))
    return scenes
