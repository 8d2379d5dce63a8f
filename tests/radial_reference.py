"""Radial attention written out: softmax over the pairs that the map keeps, in float64."""

import torch


def tokens_seen(block_map):
    """Return (N, N) bool, queries by keys, of real tokens."""
    geometry = block_map.geometry
    frames, places = torch.meshgrid(
        torch.arange(geometry.num_frames), torch.arange(geometry.tokens_per_frame), indexing="ij"
    )
    video = frames * geometry.blocks_per_frame + places // geometry.block_size
    text = geometry.num_video_blocks + torch.arange(geometry.num_text_tokens) // geometry.block_size
    block_of = torch.cat([video.flatten(), text])
    return block_map.blocks[block_of[:, None], block_of]


def attention(q, k, v, block_map, num_text_valid=None):
    """Return (B, H, N, D) in float64."""
    geometry = block_map.geometry
    seen = tokens_seen(block_map)[None, None]
    if num_text_valid is not None:
        text = torch.arange(geometry.num_tokens) - geometry.num_frames * geometry.tokens_per_frame
        seen = seen & (text < num_text_valid[:, None])[:, None, None]
    scores = q.double() @ k.double().mT / q.shape[-1] ** 0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v.double()
