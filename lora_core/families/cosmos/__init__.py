"""Cosmos Predict2 Video2World: a world that goes on from a picture or a few frames, as a prompt says."""
