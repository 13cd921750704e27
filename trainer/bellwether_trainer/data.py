"""Cleaned JSON lines in, examples out.

We read only what `bellwether clean` wrote, so that training and serving see the same text. A row that we cannot use
is an error with its file and line, never skipped in silence; only a row of a set that marks some of its rows as
unlabelled may be without a label.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .tasks import TASKS, Task

_NOT_LETTERS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True)
class DataSet:
    """A public set: its file's stem, its licence, and how much one of its rows weighs in the loss."""

    name: str
    licence: str
    source: str
    task: str
    weight: float = 1.0
    partly_labelled: bool = False
    decides: bool = True
    """Whether its share of the validation cut takes part in choosing the epoch and in calibration."""


SETS = (
    DataSet("twitter_financial_news_sentiment", "MIT", "zeroshot/twitter-financial-news-sentiment", "sentiment"),
    DataSet("twitter_financial_news_topic", "MIT", "zeroshot/twitter-financial-news-topic", "topic"),
    DataSet("sentfin", "MIT", "SEntFiN 1.0", "sentiment", weight=0.5, partly_labelled=True, decides=False),
)


POSTS = "stocknet_tweets"
"""The stem of the file of posts without labels."""

LETTERS_MIN = 12
"""A post with fewer letters says nothing to learn from."""


@dataclass(frozen=True)
class Example:
    """One text and one answer: `label` is the position in the labels of `task`."""

    text: str
    task: str
    label: int
    weight: float
    source: str
    names: tuple[str, ...] = ()
    """The companies, sectors or goods in the text, where the set tells them."""


@dataclass(frozen=True)
class Split:
    """The two cuts of the training data, and how many rows each set gave."""

    train: list[Example]
    validation: list[Example]
    rows: dict[str, int]


def near_copy_key(text: str) -> str:
    """What near-copies share: the letters alone, in lower case. Digits, marks and spaces do not count."""
    return _NOT_LETTERS.sub("", text.lower())[:60]


def in_validation(text: str, share: float) -> bool:
    """Whether a text belongs to the validation cut: a hash of its near-copy key, so that it never depends on order."""
    digest = hashlib.sha256(near_copy_key(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def read_set(path: Path, data_set: DataSet, tasks: Sequence[Task] = TASKS) -> list[Example]:
    """All labelled rows of one file. Raises DataError on a missing or empty file, a bad row or an unknown label."""
    task = next(task for task in tasks if task.name == data_set.task)
    examples = []
    for number, row in json_rows(path):
        raw = row.get(task.name)
        if raw is None and data_set.partly_labelled:
            continue
        label = task.index(raw) if isinstance(raw, str) else None
        if label is None:
            raise DataError(f"{path}:{number}: unknown {task.name} label {raw!r}")
        if row["text"].strip():
            examples.append(Example(row["text"], task.name, label, data_set.weight, data_set.name, _names(row)))
    if not examples:
        raise DataError(f"{path}: no labelled rows")
    return examples


def load(
    directory: Path,
    share: float,
    sets: Iterable[DataSet] = SETS,
    tasks: Sequence[Task] = TASKS,
    never: frozenset[str] = frozenset(),
) -> Split:
    """Reads every set from `<directory>/<name>.jsonl` and cuts `share` of it off for validation (0: nothing).

    Near-copies of the texts whose keys are `never` are left out of both cuts.
    """
    train, validation, rows = [], [], {}
    for data_set in sets:
        examples = read_set(directory / f"{data_set.name}.jsonl", data_set, tasks)
        rows[data_set.name] = len(examples)
        for example in examples:
            if near_copy_key(example.text) in never:
                continue
            (validation if in_validation(example.text, share) else train).append(example)
    for task in tasks:
        for cut, name in ((train, "training"), (validation, "validation")):
            if cut is validation and share == 0.0:
                continue
            if not any(example.task == task.name for example in cut):
                raise DataError(f"{directory}: no {task.name} rows in the {name} cut; more data is needed")
    return Split(train, validation, rows)


def keys(paths: Iterable[Path]) -> frozenset[str]:
    """The near-copy keys of all texts of some files: what a test is made of, so that nothing learns from it."""
    return frozenset(near_copy_key(row["text"]) for path in paths for _, row in json_rows(path))


def unlabelled(directory: Path, share: float, never: frozenset[str] = frozenset()) -> list[str]:
    """Texts without a label that count, in the order of the file: the English posts of `stocknet_tweets.jsonl` (none
    if there is no such file) and the headlines that SEntFiN gives no single label. One of each near-copy, none that
    belongs to the validation cut, none that is `never`.
    """
    posts = directory / f"{POSTS}.jsonl"
    rows = [row for _, row in json_rows(posts) if row.get("lang") in (None, "en")] if posts.is_file() else []
    mixed = [data_set for data_set in SETS if data_set.partly_labelled]
    for data_set in mixed:
        rows += [row for _, row in json_rows(directory / f"{data_set.name}.jsonl") if row.get(data_set.task) is None]
    found: dict[str, str] = {}
    for row in rows:
        key = near_copy_key(row["text"])
        if len(key) >= LETTERS_MIN and key not in never and not in_validation(row["text"], share):
            found.setdefault(key, row["text"])
    return list(found.values())


def write_rows(path: Path, examples: Iterable[Example], tasks: Sequence[Task] = TASKS) -> None:
    """Texts with their labels, in the form that `bellwether evaluate` reads."""
    labels = {task.name: task.labels for task in tasks}
    lines = [
        json.dumps({"text": one.text, one.task: labels[one.task][one.label]}, ensure_ascii=False) for one in examples
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _names(row: dict) -> tuple[str, ...]:
    names = {target["target"] for target in row.get("targets") or () if target["target"] in row["text"]}
    # The longest first, so that no name is cut by one that it contains.
    return tuple(sorted(names, key=lambda name: (-len(name), name)))


def json_rows(path: Path, writer: str = "bellwether clean") -> Iterable[tuple[int, dict]]:
    """Line numbers and rows, each with a `text`; `writer` is the command that makes such files."""
    for number, line in _lines(path, writer):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise DataError(f"{path}:{number}: a row is an object with a `text`")
        yield number, row


def _lines(path: Path, writer: str) -> Iterable[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from enumerate(file, 1)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; write it with `{writer}`") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from error
