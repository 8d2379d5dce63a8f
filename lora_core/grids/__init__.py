"""Grids of clips over one or two axes: what changes from cell to cell, shown side by side and measured."""
