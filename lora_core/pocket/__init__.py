"""The build of the pocket world: a tiny Wan model pair that this project draws, trains and ships."""
