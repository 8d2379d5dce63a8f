"""Toy's network: layers that mix tokens and texts, under names of its own.

Letters: B batch, C channels, L tokens, D width, T text width.
"""

import torch
from torch import Tensor, nn

TEXT_WIDTH, CHANNELS = 6, 4


class Layer(nn.Module):
    """One layer: a gate of its own, a mixer of tokens, a reader of the text."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.ModuleDict({name: nn.Linear(width, width) for name in ("ask", "show", "tell")})
        self.read = nn.Linear(TEXT_WIDTH, width)
        self.tint = nn.Parameter(torch.zeros(width))

    def forward(self, h_BLD: Tensor, text_BLT: Tensor) -> Tensor:
        scores = self.mix["ask"](h_BLD) @ self.mix["show"](h_BLD).transpose(1, 2) / h_BLD.shape[-1]
        mixed = scores.softmax(dim=-1) @ self.mix["tell"](h_BLD)
        return h_BLD + mixed + self.read(text_BLT.mean(1, keepdim=True)) + self.tint


class ToyNetwork(nn.Module):
    """The network, which predicts a velocity: `picture` (B, C, F, H, W), `level` (B,), `words` (B, L, T)."""

    def __init__(self, width: int = 8, num_layers: int = 2) -> None:
        super().__init__()
        self.entry = nn.Linear(CHANNELS, width)
        self.clock = nn.Linear(1, width)
        self.stack = nn.ModuleList(Layer(width) for _ in range(num_layers))
        self.leave = nn.Linear(width, CHANNELS)

    def forward(self, picture: Tensor, level: Tensor, words: Tensor) -> Tensor:
        h_BLD = self.entry(picture.flatten(2).transpose(1, 2)) + self.clock(level[:, None, None])
        for layer in self.stack:
            h_BLD = layer(h_BLD, words)
        return self.leave(h_BLD).transpose(1, 2).reshape(picture.shape)
