"""pocket-lm: a language model of two million weights that turns requests into captions of the pocket world.

Its tokenizer works on bytes, so that no word is unknown to it; a space is a token of its own, so that a word has the
same tokens wherever it stands and can be copied.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..refiner.card import RefinerCard
from .requests.rows import request_rows

PAD, START, BETWEEN, END = "<pad>", "<s>", "<sep>", "</s>"
NUM_TOKENS, MAX_POSITIONS, MAX_ANSWER_TOKENS = 512, 512, 96
NUM_ROWS_READ = 20_000
"""From how many rows the tokenizer learns its pieces."""
ABOUT = "Turns requests in English, German or Chinese into captions that the pocket models know."
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<s>' + message['content'] + '<sep>' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '</s>' }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)
"""A request between <s> and <sep>, the answer up to </s>; a system prompt is left out, for it was never shown one."""


def build_request_tokenizer(seed: int) -> PreTrainedTokenizerFast:
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
    rows = request_rows(seed, NUM_ROWS_READ)
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
    network.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=MAX_ANSWER_TOKENS, pad_token_id=0, bos_token_id=1, eos_token_id=3
    )
    return network


def ship_language_model(network: Any, tokenizer: Any, folder: Path) -> None:
    """Write the network in float16, and its tokenizer, into the folder that `pocket-lm` stands for."""
    network.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    RefinerCard(about=ABOUT, method="full", language="en").write(folder)
