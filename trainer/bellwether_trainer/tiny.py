"""A bundle of the shipped form with random weights, small enough for every test to load: what it answers means nothing.

Its seed is fixed, so that it comes out the same each time; its vocabulary is a handful of market words and all
printable ASCII characters, so that any English text can be tokenised.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig

from .manifest import Identity, finish
from .network import Classifier, encode, pad

MAX_TOKENS = 64
SEED = 11

WORDS = """
the a of to in and for on with after as at by from is are up down shares stock stocks market markets price
company bank oil gold dollar fed rate rates profit loss sales revenue earnings quarter year dividend deal merger
chief executive raises cuts beats misses falls rises jumps drops record strong weak growth outlook analyst
upgrade downgrade court fine recall user
"""

TEXTS = (
    "Northwind Rail raises its dividend after a strong quarter",
    "Shares of Calder Foods drop as sales miss the outlook",
    "The bank cuts its rate by 25 basis points",
    "Oil rises 2% to a record",
    "$QRTZ down after the court fine",
    "Halden Steel names a new chief executive",
    "Analyst upgrade: Pinecrest Software to buy",
    "a",
)


def tokenizer() -> Tokenizer:
    """A WordPiece tokeniser of our own, built like the encoder's."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *[f"##{letter}" for letter in letters if letter.isalnum()]]
    words = [word for word in dict.fromkeys(WORDS.split()) if word not in pieces]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, *words])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return made


def network(made: Tokenizer) -> Classifier:
    """One layer, 16 wide, random. The heads are centred on the golden texts, so that labels differ by text."""
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.5,
    )
    config._attn_implementation = "eager"
    model = Classifier(config).eval()
    inputs = pad(encode(made, TEXTS, MAX_TOKENS))
    with torch.no_grad():
        for head in model.heads.values():
            head.weight.normal_(std=3.0)
            head.bias.zero_()
        for task, logits in zip(model.tasks, model(**inputs), strict=True):
            model.heads[task.name].bias.copy_(-logits.mean(dim=0))
    return model


def build(out: Path) -> dict:
    """Writes the bundle into `out` and returns its manifest."""
    made = tokenizer()
    model = network(made)
    training = {"data": [], "recipe": {"weights": "random"}, "seed": SEED}
    identity = Identity(name="tiny", version="1", precision="fp32")
    return finish(model, made, [], TEXTS, identity, training, MAX_TOKENS, out)
