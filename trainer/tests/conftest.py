"""What the trainer's tests share: generated texts, so that no test needs a public data set."""

import json
import random
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from bellwether_trainer import data, manifest, tiny
from bellwether_trainer.network import Classifier
from transformers import BertConfig

COMPANIES = ("Northwind", "Calder", "Halden", "Pinecrest", "Quartz", "Larkspur", "Fenwick", "Merrow")
GOOD = ("beats the outlook", "raises the dividend", "shares jump and rises", "record profit")
BAD = ("misses the outlook", "cuts the dividend", "shares drop and falls", "weak loss")
PLAIN = ("is a company", "is in the market", "is on the market", "is by the court")
TOPICS = {
    "Dividend": "declares a dividend",
    "Personnel Change": "names a chief executive",
    "Energy | Oil": "oil output",
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests are small: threads would only wait for each other."""
    torch.set_num_threads(1)


def write(path: Path, rows: list[dict]) -> None:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with the three sets."""
    return write_sets(tmp_path / "clean")


def write_sets(folder: Path) -> Path:
    """The three sets under their names, a few dozen generated rows each, some without a label; returns the folder."""
    chance = random.Random(3)
    folder.mkdir()
    tones = {"positive": GOOD, "negative": BAD, "neutral": PLAIN}

    def leaning(count: int) -> list[dict]:
        rows = []
        for _ in range(count):
            tone = chance.choice(list(tones))
            words = chance.choice(tones[tone])
            rows.append({"text": f"{chance.choice(COMPANIES)} {chance.choice(COMPANIES)} {words}", "sentiment": tone})
        return rows

    write(folder / "twitter_financial_news_sentiment.jsonl", leaning(90))
    write(folder / "sentfin.jsonl", [*leaning(20), {"text": "Calder up, Halden down"}])
    topics = []
    for _ in range(90):
        name = chance.choice(list(TOPICS))
        topics.append({"text": f"{chance.choice(COMPANIES)} {chance.choice(COMPANIES)} {TOPICS[name]}", "topic": name})
    write(folder / "twitter_financial_news_topic.jsonl", topics)
    return folder


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 version whose weights nobody trained."""
    folder = tmp_path_factory.mktemp("version")
    split, tokenizer = data.load(write_sets(folder / "clean"), 0.3), tiny.tokenizer()
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=128, max_position_embeddings=32, initializer_range=0.1,
    )  # fmt: skip
    config._attn_implementation = "eager"
    out, identity = folder / "models" / "small" / "1", manifest.Identity("small", "1")
    texts = [example.text for example in split.train]
    manifest.finish(
        Classifier(config).eval(), tokenizer, split.validation, tiny.TEXTS, identity, {"data": []}, 32, out, texts
    )
    return out
