"""The pocket world's language: a word-level tokenizer and a small UMT5 encoder with fixed random weights.

A frozen random encoder is enough here: every word keeps a vector of its own, words that no clip has shown included, so
a LoRA can give a new word its meaning without touching the encoder.
"""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from . import world

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SPARE_WORDS = ("sks", "ohwx", "blorp", "wug", "florp", "quux", "dax", "mimo", "tiki", "pogo")
OTHER_WORDS = """
a an the and with of in on at to is one two three big small tiny large slow fast slowly very
moves orbits circles bounces spins zigzags jumps falls rises still background style neon glowing dark
bright white black grey purple pink brown star heart ring video clip good high quality best
"""


def vocabulary() -> dict[str, int]:
    """Give every word its number; the order is fixed, so that trained weights stay valid."""
    grammar = (*world.COLOURS, *world.SHAPES, *world.DIRECTIONS, *world.BACKGROUNDS, world.CHARACTER)
    words = dict.fromkeys((PAD, END, UNKNOWN, *grammar, *OTHER_WORDS.split(), *SPARE_WORDS))
    return {word: index for index, word in enumerate(words)}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: lower case, words and punctuation apart, the end token appended."""
    words = vocabulary()
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, words[END])])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)


def build_text_encoder(seed: int) -> UMT5EncoderModel:
    """Build the encoder with fixed random weights, float32."""
    torch.manual_seed(seed)
    config = UMT5Config(
        vocab_size=len(vocabulary()),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return UMT5EncoderModel(config).eval().requires_grad_(False)
