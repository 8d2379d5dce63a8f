"""The names of the parameters of Wan's two VAEs, native (Wan's own, ComfyUI's) and diffusers', as table rows.

Wan 2.1's VAE numbers all residual blocks and resamplers of a half in one row (`downsamples.0..10`, `upsamples.0..14`);
Wan 2.2's nests them by level (`downsamples.0.downsamples.2`). diffusers nests the decoder of both. With two residual
blocks per level (three in the decoder), the numbers below are those of every published Wan VAE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

#: Levels of both VAEs (`dim_mult` has four entries), and residual blocks per level of the encoder.
NUM_LEVELS = 4
NUM_RES_BLOCKS = 2

_WEIGHTS = ("weight", "bias")
_Row = tuple[str, str, tuple[str, ...]]

#: Inside a residual block: native, diffusers, parameters.
_RESIDUAL: tuple[_Row, ...] = (
    ("residual.0", "norm1", ("gamma",)),
    ("residual.2", "conv1", _WEIGHTS),
    ("residual.3", "norm2", ("gamma",)),
    ("residual.6", "conv2", _WEIGHTS),
    ("shortcut", "conv_shortcut", _WEIGHTS),
)
#: Inside a resampler; the names are the same in both.
_RESAMPLE: tuple[_Row, ...] = (("resample.1", "resample.1", _WEIGHTS), ("time_conv", "time_conv", _WEIGHTS))
_ATTENTION: tuple[_Row, ...] = (
    ("norm", "norm", ("gamma",)),
    ("to_qkv", "to_qkv", _WEIGHTS),
    ("proj", "proj", _WEIGHTS),
)
#: Around the levels, in both halves.
_HALF: tuple[_Row, ...] = (
    ("conv1", "conv_in", _WEIGHTS),
    ("head.0", "norm_out", ("gamma",)),
    ("head.2", "conv_out", _WEIGHTS),
)
_QUANT: tuple[_Row, ...] = (("conv1", "quant_conv", _WEIGHTS), ("conv2", "post_quant_conv", _WEIGHTS))


def vae_to_diffusers(name: str) -> str | None:
    """Return diffusers' name of a whole native VAE parameter name, or None when it is not in the table."""
    return _tables(False)[0].get(name) or _tables(True)[0].get(name)


def vae_to_native(name: str, *, nested: bool = False) -> str | None:
    """Return Wan's own name of a whole diffusers VAE parameter name, or None when it is not in the table.

    Args:
        name: diffusers' name, such as "decoder.up_blocks.0.resnets.0.conv1.weight".
        nested: True for Wan 2.2's VAE, which diffusers gives some of the same names.
    """
    return _tables(nested)[1].get(name)


def _modules(nested: bool) -> Iterator[tuple[str, str, tuple[_Row, ...]]]:
    """Yield (native path, diffusers path, rows inside) of every module of Wan 2.1's VAE, or 2.2's nested one."""
    yield "", "", _QUANT
    for half in ("encoder", "decoder"):
        yield half, half, _HALF
        yield f"{half}.middle.0", f"{half}.mid_block.resnets.0", _RESIDUAL
        yield f"{half}.middle.1", f"{half}.mid_block.attentions.0", _ATTENTION
        yield f"{half}.middle.2", f"{half}.mid_block.resnets.1", _RESIDUAL
    yield from _nested_levels() if nested else _flat_levels()


def _flat_levels() -> Iterator[tuple[str, str, tuple[_Row, ...]]]:
    per_level = NUM_RES_BLOCKS + 1  # the residual blocks of an encoder level, then its resampler
    for n in range(NUM_LEVELS * per_level - 1):
        rows = _RESAMPLE if n % per_level == NUM_RES_BLOCKS else _RESIDUAL
        yield f"encoder.downsamples.{n}", f"encoder.down_blocks.{n}", rows
    per_level = NUM_RES_BLOCKS + 2
    for n in range(NUM_LEVELS * per_level - 1):
        level, place = divmod(n, per_level)
        if place == NUM_RES_BLOCKS + 1:
            yield f"decoder.upsamples.{n}", f"decoder.up_blocks.{level}.upsamplers.0", _RESAMPLE
        else:
            yield f"decoder.upsamples.{n}", f"decoder.up_blocks.{level}.resnets.{place}", _RESIDUAL


def _nested_levels() -> Iterator[tuple[str, str, tuple[_Row, ...]]]:
    halves = (("encoder", "down", NUM_RES_BLOCKS), ("decoder", "up", NUM_RES_BLOCKS + 1))
    for half, way, num_blocks in halves:
        for level in range(NUM_LEVELS):
            native, diffusers = f"{half}.{way}samples.{level}.{way}samples", f"{half}.{way}_blocks.{level}"
            for n in range(num_blocks):
                yield f"{native}.{n}", f"{diffusers}.resnets.{n}", _RESIDUAL
            yield f"{native}.{num_blocks}", f"{diffusers}.{way}sampler", _RESAMPLE


@cache
def _tables(nested: bool) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return (native -> diffusers, diffusers -> native) for whole parameter names."""
    pairs = [
        (".".join(filter(None, (native, row[0], leaf))), ".".join(filter(None, (diffusers, row[1], leaf))))
        for native, diffusers, inside in _modules(nested)
        for row in inside
        for leaf in row[2]
    ]
    return dict(pairs), {diffusers: native for native, diffusers in pairs}
