"""What several of our own fine-tunes say together: soft answers to both tasks for every text a student may see.

A row of one task gets an answer for the other one too, and texts without any label become rows to learn from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from . import loop, whole
from .errors import DataError
from .network import Classifier, encode, pad

BATCH = 128


@dataclass(frozen=True)
class Answers:
    """A text's place and, a task, probabilities of shape (texts, labels)."""

    place: dict[str, int]
    probabilities: dict[str, Tensor]

    def of(self, text: str) -> tuple[Tensor, ...] | None:
        """One distribution a task, in the order of the tasks; None for a text that nobody was asked about."""
        place = self.place.get(text)
        return None if place is None else tuple(values[place] for values in self.probabilities.values())


@torch.no_grad()
def ask(
    model: Classifier, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, narrow: bool = False
) -> dict[str, Tensor]:
    """Probabilities a task of one model, in the order of the texts; `narrow`: in bf16, where that is faster."""
    model.eval()
    rows = encode(tokenizer, texts, max_tokens)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    result = {task.name: torch.zeros(len(rows), len(task.labels)) for task in model.tasks}
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow and loop.bf16_pays()):
            answers = model(**pad([rows[index] for index in part]))
        for task, logits in zip(model.tasks, answers, strict=True):
            result[task.name][part] = torch.softmax(logits.float(), dim=1)
    return result


def mean(all_answers: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the probabilities of several models."""
    return {name: torch.stack([answers[name] for answers in all_answers]).mean(dim=0) for name in all_answers[0]}


def save(path: Path, texts: Sequence[str], probabilities: dict[str, Tensor], teachers: Sequence[str]) -> None:
    """Written for `read`."""
    whole.save({"texts": list(texts), "probabilities": probabilities, "teachers": list(teachers)}, path)


def read(path: Path) -> Answers:
    """Raises DataError where there is no such file."""
    try:
        kept = torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; write it with `teach`") from error
    return Answers({text: index for index, text in enumerate(kept["texts"])}, kept["probabilities"])
