"""Refiners of prompts: what writes a prompt more fully, used before a video and fine-tuned for it."""
