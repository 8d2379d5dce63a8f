"""The changes of a stack at work on a network."""
