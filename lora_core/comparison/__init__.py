"""Several methods of training, side by side: the same clips, steps and seeds, each with learning rates of its own."""
