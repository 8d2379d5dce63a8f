"""One video, from what is asked to what is recorded."""
