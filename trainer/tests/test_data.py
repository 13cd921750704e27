"""Promise: data that cannot be used is an error with its file, its line and exit code 65, never a silent skip."""

from pathlib import Path

import pytest
from bellwether_trainer import data
from bellwether_trainer.__main__ import main
from bellwether_trainer.errors import DataError
from bellwether_trainer.tasks import SENTIMENT, TOPIC
from conftest import write

SENTIMENT_SET, TOPIC_SET, PARTLY = data.SETS


def test_all_rows_are_in_one_cut_or_the_other(sets: Path) -> None:
    split = data.load(sets, 0.2)
    assert split.rows == {"twitter_financial_news_sentiment": 90, "twitter_financial_news_topic": 90, "sentfin": 20}
    assert len(split.train) + len(split.validation) == 200


def test_near_copies_are_never_on_both_sides(sets: Path) -> None:
    split = data.load(sets, 0.3)
    keys = [{data.near_copy_key(example.text) for example in cut} for cut in (split.train, split.validation)]
    assert keys[0] and keys[1] and not keys[0] & keys[1]
    assert data.near_copy_key("Calder up 3% - $CLD!") == data.near_copy_key("calder UP 12 cld")


def test_a_label_may_be_ours_or_the_sets() -> None:
    assert TOPIC.index("Energy | Oil") == TOPIC.index("energy") == TOPIC.labels.index("energy")
    assert SENTIMENT.index("bullish") is None
    assert len(TOPIC.labels) == 20 and set(TOPIC.aliases.values()) == set(TOPIC.labels)


def test_an_unknown_label_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write(path, [{"text": "a", "sentiment": "neutral"}, {"text": "b", "sentiment": "glad"}])
    with pytest.raises(DataError, match=r"x\.jsonl:2: unknown sentiment label 'glad'"):
        data.read_set(path, SENTIMENT_SET)


def test_only_a_partly_labelled_set_may_lack_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write(path, [{"text": "a"}, {"text": "b", "sentiment": "neutral"}])
    assert len(data.read_set(path, PARTLY)) == 1
    with pytest.raises(DataError, match=":1: unknown sentiment label None"):
        data.read_set(path, SENTIMENT_SET)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no labelled rows"),
        (b"\n\n", "no labelled rows"),
        (b"{oops\n", ":1: not JSON"),
        (b'{"sentiment": "neutral"}\n', ":1: a row is an object with a `text`"),
        (b'"text"\n', ":1: a row is an object with a `text`"),
        (b'{"text": "\xff"}\n', "not UTF-8"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.read_set(path, SENTIMENT_SET)


def test_bad_data_exits_65_and_a_bad_command_64(tmp_path: Path, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--run-dir", str(tmp_path / "run"), "--out", str(tmp_path / "models")]
    assert main(["train", "--data", str(tmp_path / "nowhere"), *run]) == 65
    assert "no such file; write it with `bellwether clean`" in capsys.readouterr().err
    assert main(["train", "--data", str(sets), *run, "--epochs", "0"]) == 64
    assert main(["train"]) == 64
    assert main(["dance"]) == 64
    assert main(["train", "--data", str(sets), *run, "--start", str(tmp_path / "nowhere.pt")]) == 65
    assert main(["finish", "--data", str(sets), *run]) == 65
    assert main(["verify", str(tmp_path)]) == 65
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_cut_without_rows_of_a_task_is_an_error(sets: Path) -> None:
    with pytest.raises(DataError, match="no sentiment rows in the validation cut"):
        data.load(sets, 1e-9)


def test_what_a_test_is_made_of_is_in_neither_cut(sets: Path, tmp_path: Path) -> None:
    whole = data.load(sets, 0.3)
    taken = whole.train[0].text
    write(tmp_path / "test.jsonl", [{"text": taken.upper() + " 7 %"}])
    never = data.keys([tmp_path / "test.jsonl"])
    split = data.load(sets, 0.3, never=never)
    found = {data.near_copy_key(example.text) for example in [*split.train, *split.validation]}
    assert not found & never and len(split.train) < len(whole.train)


def test_unlabelled_texts_are_english_once_each_and_of_the_training_cut(sets: Path) -> None:
    posts = [
        {"text": "Northwind has something to say today", "lang": "en"},
        {"text": "northwind has something to say: today 2", "lang": "en"},
        {"text": "Northwind tiene algo que decir hoy", "lang": "es"},
        {"text": "$NWRL 12", "lang": "en"},
    ]
    write(sets / f"{data.POSTS}.jsonl", posts)
    found = [text for text in data.unlabelled(sets, 1e-9) if "Calder up" not in text]
    assert found == ["Northwind has something to say today"]
    assert data.unlabelled(sets, 1.0) == []
    assert "Northwind" not in " ".join(data.unlabelled(sets, 1e-9, frozenset(map(data.near_copy_key, found))))
