"""pocket-lm: a language model of two million weights that turns requests into captions of the pocket world.

Its tokenizer works on bytes, so that no word is unknown to it; a space is a token of its own, so that a word has the
same tokens wherever it stands and can be copied. It is trained from random weights by the tuning that everybody uses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..atomic import write_text
from ..progress import Progress
from ..refiner.card import RefinerCard
from ..refiner.tuning.config import make_tune_config
from ..refiner.tuning.listener import TuneListener, TuneStep
from .requests.rows import request_rows, write_rows

PAD, START, BETWEEN, END = "<pad>", "<s>", "<sep>", "</s>"
NUM_TOKENS, MAX_POSITIONS, MAX_ANSWER_TOKENS = 512, 512, 96
ABOUT = "Turns requests in English, German or Chinese into captions that the pocket models know."
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<s>' + message['content'] + '<sep>' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '</s>' }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)
"""A request between <s> and <sep>, the answer up to </s>; a system prompt is left out, for it was never shown one."""
RECIPE: Mapping[str, Any] = {
    "method": "full",
    "steps": 6000,
    "batch_size": 384,
    "lr": 2e-3,
    "schedule": "cosine",
    "warmup_steps": 400,
    "weight_decay": 0.1,
    "max_length": 256,
    "long_rows": "leave_out",
    "log_every": 50,
    "checkpoint_every": 2000,
    "language": "en",
    "name": "pocket-lm",
}
"""The keys of its tuning."""


@dataclass(frozen=True)
class LanguageModelConfig:
    """What decides what pocket-lm becomes.

    Attributes:
        seed: of the weights that it starts from; the rows have the next one, so that the tokenizer's are others.
        num_rows: that it is trained on.
        num_rows_read: that the tokenizer learns its pieces from.
        num_measured: rows of each set that it is measured on.
        keys: of its tuning.
    """

    seed: int = 0
    num_rows: int = 150_000
    num_rows_read: int = 20_000
    num_measured: int = 1000
    keys: Mapping[str, Any] = field(default_factory=lambda: RECIPE)


def quick_language_model() -> LanguageModelConfig:
    """Give a configuration that makes a pocket-lm good for nothing in seconds."""
    keys = {**RECIPE, "steps": 2, "batch_size": 4, "warmup_steps": 1, "log_every": 1, "checkpoint_every": 0}
    return replace(LanguageModelConfig(), num_rows=40, num_rows_read=200, num_measured=4, keys=keys)


def draw_rows(config: LanguageModelConfig, path: Path) -> None:
    """Draw the rows that it is trained on, none of a held-out mixture, into a file."""
    write_rows(path, request_rows(config.seed + 1, config.num_rows))


def train_language_model(config: LanguageModelConfig, rows: Path, folder: Path, progress: Progress) -> Path:
    """Train it on a file of rows, in a folder; one that was cut off goes on. Returns the folder of the result."""
    from ..refiner.tuning.tune import tune  # it looks for TRL, which is an extra

    start, out = folder / "start", folder / "run"
    if not out.exists():
        build_start(config.seed).save_pretrained(start)
        build_request_tokenizer(config.seed, config.num_rows_read).save_pretrained(start)
    keys = {**config.keys, "model": str(start), "rows": str(rows), "seed": config.seed}
    tuned = tune(make_tune_config(keys), out, resume=out.exists(), listener=_Told(progress))
    assert tuned.refiner is not None, "nobody stops it"
    return tuned.refiner


def ship_language_model(trained: Path, config: LanguageModelConfig, folder: Path) -> None:
    """Write what a training has left, in float16, into the folder that `pocket-lm` stands for."""
    network = LlamaForCausalLM.from_pretrained(trained, dtype=torch.float16)
    network.generation_config = _greedily()
    network.save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(trained).save_pretrained(folder)
    _name_class(folder / "tokenizer_config.json")
    card = RefinerCard(
        about=ABOUT, method="full", language="en", num_steps=config.keys["steps"], num_rows=config.num_rows
    )
    card.write(folder)


def build_request_tokenizer(seed: int, num_rows: int) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE of 512 tokens from generated requests and captions."""
    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]|\s"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_TOKENS,
        special_tokens=[PAD, START, BETWEEN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rows = request_rows(seed, num_rows)
    tokenizer.train_from_iterator((text for row in rows for text in (row.prompt, row.completion)), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        sep_token=BETWEEN,
        eos_token=END,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def build_start(seed: int) -> LlamaForCausalLM:
    """Build the network with random weights, float32: 2,016,960 of them."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=NUM_TOKENS,
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=3,
    )
    network = LlamaForCausalLM(config)
    network.generation_config = _greedily()
    return network


def _greedily() -> GenerationConfig:
    return GenerationConfig(
        do_sample=False, max_new_tokens=MAX_ANSWER_TOKENS, pad_token_id=0, bos_token_id=1, eos_token_id=3
    )


def _name_class(path: Path) -> None:
    """Call the tokenizer's class what every release of transformers calls it."""
    told = json.loads(path.read_text())
    kept = {key: value for key, value in told.items() if key not in ("backend", "is_local", "local_files_only")}
    write_text(json.dumps(kept | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n", path)


class _Told(TuneListener):
    """What a tuning says, handed on as progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, step: TuneStep) -> None:
        self._progress(step.step, step.num_steps, f"pocket-lm: loss {step.loss:.4f}")
