"""The opening of a language model from local files: a folder or a GGUF, with an adapter, packed in 4 bits or not.

Dtype policy: on the CPU it computes in float32, elsewhere in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from ..checkpoints.hashes import hashes_of
from ..checkpoints.residency import offline
from ..checks import first_line, known, typed
from ..errors import LoraCoreError, ModelError
from ..wording import Said, said
from .language_model import LanguageModel
from .packing import pack
from .sources import LanguageSource, find_language_source

#: How the weights that learn nothing are kept: as they are, or packed in 4 bits with statistics in 8.
Base = Literal["full", "nf4"]
BASES: tuple[Base, ...] = ("full", "nf4")


@typed(ModelError)
def open_language_model(
    source: str | Path,
    *,
    adapter: str | Path | None = None,
    on: str | Path | None = None,
    base: Base = "full",
    device: str | torch.device | None = None,
) -> LanguageModel:
    """Open a language model from local files; nothing is fetched.

    Args:
        source: `pocket-lm`, a folder in Hugging Face's form, a GGUF, what a training has made, or an adapter's folder.
        adapter: a peft adapter on it.
        on: the base of the adapter `source`, where what it names is not here.
        base: "nf4" packs the linear layers in 4 bits.
        device: by default a GPU where there is one.

    Raises:
        ModelError: a piece is missing, it is no language model that goes on with a text, or the adapter is another's.
    """
    known(base, BASES, "base", ModelError)
    found = find_language_source(source, adapter=adapter, base=on)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    hashes = _hashes(found)
    _check_base(found, hashes)
    tokenizer = open_tokenizer(found)
    network = open_network(found, base, place)
    if found.adapter is not None:
        network = _with_adapter(network, found)
    return LanguageModel(found, network.eval(), tokenizer, digest_of(found, base))


def digest_of(source: LanguageSource, base: Base = "full") -> str:
    """Return a hash of all files of a language model, its adapter's too, and of how its weights are kept."""
    return "-".join([base, *_hashes(source).values()])


def _hashes(source: LanguageSource) -> dict[str, str]:
    return hashes_of({"base": source.base, **({"adapter": source.adapter} if source.adapter else {})})


def open_tokenizer(source: LanguageSource) -> Any:
    """Open the tokenizer of a language model: that of its adapter where one lies beside it."""
    from transformers import AutoTokenizer

    adapter = source.adapter
    own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    with offline(), _told(source.name, lambda why: said("its tokenizer cannot be opened: {why}", why=why)):
        if own:
            return AutoTokenizer.from_pretrained(str(adapter))
        return AutoTokenizer.from_pretrained(str(source.folder), **_gguf(source))


def open_network(source: LanguageSource, base: Base, device: torch.device, *, dtype: torch.dtype | None = None) -> Any:
    """Open the network of a language model without its adapter, on a device; `dtype` in the place of the policy's."""
    from transformers import AutoModelForCausalLM

    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    settings: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}, **_gguf(source)}
    packed = packing(dtype, device) if base == "nf4" else None
    if packed is not None and source.gguf is None:
        settings["quantization_config"] = packed
    told = _told(source.name, lambda why: said("its network cannot be opened: {why}", why=why))
    with offline(), without_bars(), told:
        network = AutoModelForCausalLM.from_pretrained(str(source.folder), **settings)
    if source.gguf is not None:
        _forget_gguf(network)
        if packed is not None:
            pack(network, dtype, device)
    return network


def packing(dtype: torch.dtype, device: torch.device) -> Any:
    """Return how QLoRA packs a base: nf4, its statistics in 8 bits, computing in `dtype`.

    Raises:
        ModelError: bitsandbytes is not there, or its build is for the CPU and the device is not.
    """
    from transformers import BitsAndBytesConfig

    try:
        from bitsandbytes.cextension import lib  # transformers only says much later that it is missing
    except ImportError as error:
        remedy = 'Install it with `pip install "wanloom[refine]"`, or take the base as it is'
        raise ModelError("base nf4", "the package bitsandbytes is not there", remedy=remedy) from error
    if device.type == "cuda" and getattr(lib, "compiled_with_cuda", False) is not True:
        what = said("bitsandbytes has no library for the CUDA {version} of this PyTorch", version=torch.version.cuda)
        remedy = "Run `python -m bitsandbytes` to see why, install the build for it, or take the base as it is"
        raise ModelError("base nf4", what, remedy=remedy)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _check_base(source: LanguageSource, hashes: Mapping[str, str]) -> None:
    stated = source.card.base_digest
    if source.adapter is not None and stated and stated != hashes["base"]:
        what = said("it is an adapter on another model, {base}", base=source.card.base or stated[:12])
        expected = said("one on {name}", name=source.folder.name)
        raise ModelError(source.adapter, what, expected=expected, remedy="Give the model that it was trained on")


def _with_adapter(network: Any, source: LanguageSource) -> Any:
    from peft import PeftModel

    with offline(), _told(str(source.adapter), lambda why: said("this adapter does not fit the model: {why}", why=why)):
        return PeftModel.from_pretrained(network, str(source.adapter))


def _gguf(source: LanguageSource) -> dict[str, str]:
    return {} if source.gguf is None else {"gguf_file": source.gguf.name}


def _forget_gguf(network: Any) -> None:
    """Let a model that was unpacked from a GGUF be what it is by now: one of plain weights, which can be saved."""
    network.hf_quantizer = None
    network.is_quantized = False
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config


@contextmanager
def without_bars() -> Iterator[None]:
    """Let transformers draw no bars of progress inside the block."""
    from transformers.utils import logging

    were_drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_drawn:
            logging.enable_progress_bar()


@contextmanager
def _told(where: str, what: Callable[[str], Said]) -> Iterator[None]:
    """Turn what other libraries raise while they open something into an error of ours."""
    try:
        yield
    except LoraCoreError:
        raise
    except Exception as error:  # of many kinds, from many places
        raise ModelError(where, what(first_line(error)), remedy="Fetch its files anew, or take another one") from error
