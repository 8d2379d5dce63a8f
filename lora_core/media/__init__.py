"""Frames and pictures: clips to files and back, contact sheets, figures."""
