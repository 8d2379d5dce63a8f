"""The network of a tuning: a base that is opened as the method wants it, with what learns in it.

Dtype policy: adapters are in float32 for every method, on every device. What learns is in float32, too, where all
weights do, unless bfloat16 is asked for. A base that does not learn is in the dtype of the
computation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ...checkpoints.hashes import hashes_of
from ...checks import first_line
from ...errors import ModelError, TrainingError
from ...wording import said
from ..opening import open_network
from ..rows.examples import ExampleMaker
from ..rows.opening import config_of
from ..sources import LanguageSource, find_language_source
from .config import ALL_LINEAR, Method, Precision, TuneConfig


@dataclass(frozen=True)
class Learner:
    """A network of which some weights learn.

    Attributes:
        network: transformers' model, a peft model around it where an adapter learns.
        num_parameters: of the base, without adapters.
        digest: the sha256 of its base.
        saved_as: the dtype in which all weights are written.
    """

    source: LanguageSource
    network: Any
    tokenizer: Any
    num_parameters: int
    digest: str
    saved_as: torch.dtype

    @property
    def num_trainable(self) -> int:
        """How many numbers learn."""
        return sum(weight.numel() for weight in self.weights().values())

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """Return those that learn, by name."""
        return {name: weight for name, weight in self.network.named_parameters() if weight.requires_grad}


def precision_of(config: TuneConfig, device: torch.device) -> Precision:
    """Return how a tuning computes on a device."""
    if config.precision != "auto":
        return config.precision
    return "float32" if device.type == "cpu" else "mixed"


def computing_dtype(precision: Precision) -> torch.dtype:
    """Return what layers compute in."""
    return torch.float32 if precision == "float32" else torch.bfloat16


def resting_dtype(precision: Precision, method: Method) -> torch.dtype:
    """Return what the base is kept in; a packed one computes in it."""
    return torch.float32 if method == "full" and precision == "mixed" else computing_dtype(precision)


def find_base(model: str) -> LanguageSource:
    """Find the files of the model that is tuned.

    Raises:
        ModelError: there is none, or it is an adapter itself.
    """
    source = find_language_source(model)
    if source.adapter is not None:
        remedy = "Merge it into its base first, or tune the base anew with the rows of both"
        raise ModelError(source.adapter, "is an adapter, on which no other is learnt", remedy=remedy)
    return source


def open_learner(config: TuneConfig, source: LanguageSource, maker: ExampleMaker, device: torch.device) -> Learner:
    """Open a base with what learns in it; what is random of an adapter follows from the seed alone.

    Raises:
        ModelError: it cannot be opened.
        TrainingError: layers that shall have an adapter are not there.
    """
    resting = resting_dtype(precision_of(config, device), config.method)
    digest = hashes_of({"base": source.base})["base"]
    network = open_network(source, "nf4" if config.method == "qlora" else "full", device, dtype=resting)
    _keep_differentiable(network)
    num, saved_as = int(network.num_parameters()), _stored_dtype(source)
    if config.method != "full":
        network = _adapted(network, config, source)
    return Learner(source, network, maker.tokenizer, num, digest, saved_as)


def _stored_dtype(source: LanguageSource) -> torch.dtype:
    """Return the dtype that a base is stored in; float32 of a GGUF, which stores nothing that torch has."""
    if source.gguf is not None:
        return torch.float32
    stated = config_of(source).dtype
    return stated if isinstance(stated, torch.dtype) else torch.float32


def adapter_settings(config: TuneConfig) -> Any:
    """Return the adapter of a configuration as peft has it."""
    from peft import LoraConfig

    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft divides it, whole or not
        lora_dropout=config.dropout,
        target_modules=ALL_LINEAR if config.targets == (ALL_LINEAR,) else list(config.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )


def _adapted(network: Any, config: TuneConfig, source: LanguageSource) -> Any:
    from peft import get_peft_model

    network.requires_grad_(False)
    torch.manual_seed(config.seed)
    try:
        adapted = get_peft_model(network, adapter_settings(config))
    except ValueError as error:  # layers that are not there, or are no layers
        what = said("no adapter fits these layers: {why}", why=first_line(error))
        raise TrainingError("targets", what, expected=ALL_LINEAR, remedy=f"Name layers of {source.name}") from error
    for weight in adapted.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return adapted


def _keep_differentiable(network: Any) -> None:
    """Keep bitsandbytes from laying packed weights out anew for the CPU once they are measured.

    On CPUs with AVX-512 BF16 the first forward pass in evaluation mode does so for good, and no gradient flows through
    the kernel for that layout: behind it a training goes on with wrong ones, and without an error.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def keeping_weights(network: Any) -> Iterator[None]:
    """Undo whatever happens inside to the weights of an adapter: TRL rounds those on a packed base to bfloat16."""
    kept = {name: weight.data for name, weight in network.named_parameters() if weight.requires_grad}
    yield
    for name, weight in network.named_parameters():
        if name in kept:
            weight.data = kept[name]
