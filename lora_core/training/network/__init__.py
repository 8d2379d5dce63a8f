"""What of a network is trained: adapters on it, on a quantised one, or all of it."""
