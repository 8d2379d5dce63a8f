"""Clips: from a folder to a cache of what a network is trained on."""
