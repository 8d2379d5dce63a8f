"""What acts at each step of a run, and what looks wrong about it."""
