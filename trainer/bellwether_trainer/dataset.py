"""What `bellwether dataset` wrote: people's labels, and what the champion answered where nobody gave one.

We read the training and the validation rows, never `test.jsonl`: that one judges the candidate. A row that we cannot
use is an error with its file and line; a row without any label for the champion's tasks is left out.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import bundle, data
from .data import Example
from .errors import DataError
from .tasks import Task

LABELLED_MIN = 10
"""Labelled training rows below which there is nothing to learn from."""

LABELLED_MAX = 200_000
"""Labelled rows of a file that are held in memory; a desk that has more trains anew."""

WRITER = "bellwether dataset"


@dataclass(frozen=True)
class Labelled:
    """A text with a label for one task or more: the position in the labels of each."""

    text: str
    labels: dict[str, int]


@dataclass(frozen=True)
class Answered:
    """A text without a label, and the champion's calibrated probabilities for no task or more, as its labels."""

    text: str
    said: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Dataset:
    """What there is to learn from and to check on."""

    train: list[Labelled]
    validation: list[Labelled]
    unlabelled: list[Answered]
    left_out: int
    """Labelled rows for which there was no room."""
    sha256: str
    """Of `dataset.json`."""
    contents: str
    """A hash of everything that was read."""
    one_class: dict[str, dict[str, int]]
    """Tasks whose training labels were all of one class, with that class and its rows: none of their labels is here."""

    def classes(self, tasks: Sequence[Task]) -> dict[str, dict[str, int]]:
        """How many training rows each label has, by task; labels without a row are left out."""
        return {
            task.name: {label: count for label in task.labels if (count := counted[task.labels.index(label)])}
            for task in tasks
            if (counted := Counter(row.labels[task.name] for row in self.train if task.name in row.labels))
        }


def examples(rows: Sequence[Labelled]) -> list[Example]:
    """Rows as the rest of the trainer knows them: one for each label."""
    return [Example(row.text, task, label, 1.0, WRITER) for row in rows for task, label in row.labels.items()]


def read(
    directory: Path, tasks: Sequence[Task], version: str, unlabelled_max: int, labelled_max: int = LABELLED_MAX
) -> Dataset:
    """The whole of it; of the unlabelled texts at most `unlabelled_max`, chosen and ordered by a hash of the text, and
    of each file of labelled ones at most `labelled_max`, chosen likewise.

    Of the answers to unlabelled texts only those of the champion, `version`, are kept: what another version said may
    be what it was taken back for. Unlabelled near-copies of the labelled texts that are kept are left out, so that no
    old answer speaks against a label. A task whose training labels are all of one class loses them, and those of the
    validation rows: nothing can be learnt from them. Raises DataError on a bad row, on fewer than ten labelled
    training rows, and where no task has labels of two classes.
    """
    note = directory / "dataset.json"
    if not note.is_file():
        raise DataError(f"{note}: no such file; write the directory with `{WRITER}`")
    paths = [directory / "data" / "train.jsonl", directory / "data" / "validation.jsonl"]
    (train, more), (validation, others) = (_labelled(path, tasks, labelled_max) for path in paths)
    answered = directory / "unlabelled.jsonl"
    taken = {data.near_copy_key(row.text) for row in (*train, *validation)}
    unlabelled = _answered(answered, tasks, version, taken, unlabelled_max) if answered.is_file() else []
    digest = hashlib.sha256()
    for path in (note, *paths, answered):
        digest.update(bundle.sha256(path).encode() if path.is_file() else b"none")
    found = Dataset(train, validation, unlabelled, more + others, bundle.sha256(note), digest.hexdigest(), {})
    counted = found.classes(tasks)
    alone = {task: counts for task, counts in counted.items() if len(counts) == 1}
    if alone and len(alone) == len(counted):
        told = ", ".join(
            f"all {n} {task} labels are `{label}`" for task, one in alone.items() for label, n in one.items()
        )
        raise DataError(f"{paths[0]}: {told}; at least two classes are needed")
    train, validation = (_without(rows, alone) for rows in (train, validation))
    if len(train) < LABELLED_MIN:
        raise DataError(f"{paths[0]}: {len(train)} labelled rows; at least {LABELLED_MIN} are needed")
    return replace(found, train=train, validation=validation, one_class=alone)


def _without(rows: list[Labelled], tasks: Collection[str]) -> list[Labelled]:
    """The rows that have a label for another task than these, with those labels alone."""
    kept = [(row.text, {task: label for task, label in row.labels.items() if task not in tasks}) for row in rows]
    return [Labelled(text, labels) for text, labels in kept if labels]


def _labelled(path: Path, tasks: Sequence[Task], most: int) -> tuple[list[Labelled], int]:
    """The rows, and how many of them were left out."""
    found: dict[tuple[bytes, int], Labelled] = {}
    seen = 0
    for number, row in data.json_rows(path, WRITER):
        labels = {}
        for task in tasks:
            raw = row.get(task.name)
            if raw is None:
                continue
            place = task.index(raw) if isinstance(raw, str) else None
            if place is None:
                raise DataError(f"{path}:{number}: unknown {task.name} label {raw!r}")
            labels[task.name] = place
        if labels and row["text"].strip():
            found[hashlib.sha256(row["text"].encode()).digest(), number] = Labelled(row["text"], labels)
            seen += 1
        if len(found) > 2 * most:
            found = _first(found, most)
    # In the order of the file, all of them or those that were chosen.
    kept = _first(found, most) if len(found) > most else found
    return [kept[key] for key in sorted(kept, key=lambda key: key[1])], seen - len(kept)


def _answered(path: Path, tasks: Sequence[Task], version: str, taken: set[str], most: int) -> list[Answered]:
    """Texts that some version answered, each with what the champion, `version`, said of it."""
    found: dict[bytes, Answered] = {}
    for number, row in data.json_rows(path, WRITER):
        answers = [(task, row.get(f"{task.name}_probabilities")) for task in tasks]
        answers = [(task, raw) for task, raw in answers if raw]
        if not answers or not row["text"].strip() or data.near_copy_key(row["text"]) in taken:
            continue
        if row.get("model_version") != version:
            answers = []
        said = {task.name: _probabilities(raw, task, f"{path}:{number}") for task, raw in answers}
        key = hashlib.sha256(row["text"].encode()).digest()
        if key not in found or (said and not found[key].said):
            found[key] = Answered(row["text"], said)
        # An archive may hold millions: no more than twice what is wanted is ever kept.
        if len(found) > 2 * most:
            found = _first(found, most)
    return list(_first(found, most).values())


def _first(found: dict, most: int) -> dict:
    return {key: found[key] for key in sorted(found)[:most]}


def _probabilities(raw: object, task: Task, where: str) -> tuple[float, ...]:
    """In the order of the task's labels, summing to 1; a label that is not named has 0."""
    if not isinstance(raw, dict):
        raise DataError(f"{where}: {task.name}_probabilities is no map of labels")
    values = [0.0] * len(task.labels)
    for label, value in raw.items():
        place = task.index(label)
        if place is None:
            raise DataError(f"{where}: unknown {task.name} label {label!r}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
            raise DataError(f"{where}: the probability of {label!r} is {value!r}")
        values[place] += value
    total = math.fsum(values)
    if total <= 0.0:
        raise DataError(f"{where}: the {task.name} probabilities are all 0")
    return tuple(value / total for value in values)
