"""A small classifier with one head as Hugging Face's exporters write it, for the test of `bellwether model import`.

Its weights are random and its tokeniser is the tiny model's: what it answers means nothing, but torch's own answers lie
beside it, in `answers.json`, a row of probabilities a text.
"""

import json
import warnings
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

from . import tiny
from .export import INPUTS, OPSET
from .network import encode, pad

CLASSES = ("Bullish", "Bearish", "Neutral")


def build(out: Path) -> None:
    """Writes graph, configuration, tokeniser and answers into `out`."""
    made = tiny.tokenizer()
    torch.manual_seed(tiny.SEED)
    config = BertConfig(
        vocab_size=made.get_vocab_size(), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=tiny.MAX_TOKENS, initializer_range=0.5,
        id2label=dict(enumerate(CLASSES)), label2id={name: place for place, name in enumerate(CLASSES)},
    )  # fmt: skip
    config._attn_implementation = "eager"
    model = BertForSequenceClassification(config).eval()
    inputs = pad(encode(made, tiny.TEXTS, tiny.MAX_TOKENS))
    out.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(out)
    made.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 48}), encoding="utf-8")
    ids = torch.ones((2, 8), dtype=torch.int64)
    given = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS} | {"logits": {0: "batch"}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = model(**inputs).logits.softmax(dim=1)
        torch.onnx.export(
            model, given, str(out / "model.onnx"), input_names=list(INPUTS), output_names=["logits"],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    rows = [dict(zip(CLASSES, row, strict=True)) for row in answers.tolist()]
    told = [{"text": text, "answers": row} for text, row in zip(tiny.TEXTS, rows, strict=True)]
    (out / "answers.json").write_text(json.dumps(told) + "\n", encoding="utf-8")
