"""Self-attention on part of the pairs of tokens: which pairs, how they are computed, and where it stays dense."""
