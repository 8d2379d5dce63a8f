"""Memory: what a training takes, and what it will take."""
