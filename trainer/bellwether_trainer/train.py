"""The training loop: mixed batches sorted by length, one masked loss a task, the best epoch by the validation cut."""

import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .data import Example, Split
from .network import Classifier, encode, pad


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a model is trained; it is written into the manifest as it is."""

    epochs: int = 3
    batch: int = 64
    max_tokens: int = 96
    learning_rate: float = 1e-4
    head_learning_rate: float = 5e-4
    warm_up: float = 0.06
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    gradient_norm_max: float = 1.0
    validation_share: float = 0.08
    seed: int = 7


@dataclass(frozen=True)
class Row:
    """An example with its token ids."""

    ids: list[int]
    example: Example


class Log:
    """Progress for people on standard output, the same as JSON lines in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, event: str, **values: object) -> None:
        """One line each."""
        shown = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )
        print(f"{event:<10} {shown}", flush=True)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "at": round(time.time(), 3), **values}) + "\n")


def tokenise(tokenizer: Tokenizer, examples: Sequence[Example], max_tokens: int) -> list[Row]:
    """Rows in the order of the examples."""
    ids = encode(tokenizer, [example.text for example in examples], max_tokens)
    return [Row(row, example) for row, example in zip(ids, examples, strict=True)]


def batches(rows: Sequence[Row], size: int, shuffle: random.Random | None) -> Iterator[list[Row]]:
    """Batches of similar length, which saves most padding. Shuffled within pools of 50 batches, then as a whole."""
    if shuffle is None:
        ordered = sorted(rows, key=lambda row: len(row.ids))
        yield from (ordered[start : start + size] for start in range(0, len(ordered), size))
        return
    order = shuffle.sample(range(len(rows)), len(rows))
    pool, cut = size * 50, []
    for start in range(0, len(order), pool):
        part = sorted((rows[index] for index in order[start : start + pool]), key=lambda row: len(row.ids))
        cut += [part[at : at + size] for at in range(0, len(part), size)]
    shuffle.shuffle(cut)
    yield from cut


def masked_loss(logits: Sequence[Tensor], rows: Sequence[Row], names: Sequence[str], smoothing: float) -> Tensor:
    """Mean loss over the batch; each row counts in its own task's head alone, by its weight."""
    total = logits[0].new_zeros(())
    for name, output in zip(names, logits, strict=True):
        mine = [index for index, row in enumerate(rows) if row.example.task == name]
        if mine:
            target = torch.tensor([rows[index].example.label for index in mine])
            weight = torch.tensor([rows[index].example.weight for index in mine])
            loss = nn.functional.cross_entropy(output[mine], target, reduction="none", label_smoothing=smoothing)
            total = total + (loss * weight).sum()
    return total / sum(row.example.weight for row in rows)


def optimiser(
    model: Classifier, recipe: Recipe, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW with a linear warm-up and decay; heads learn faster, biases and norms do not decay."""
    groups = []
    for part, rate in ((model.encoder, recipe.learning_rate), (model.heads, recipe.head_learning_rate)):
        flat = [p for p in part.parameters() if p.ndim == 1]
        deep = [p for p in part.parameters() if p.ndim > 1]
        groups += [{"params": deep, "lr": rate, "weight_decay": recipe.weight_decay}]
        groups += [{"params": flat, "lr": rate, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, fused=True)
    warm = max(1, math.ceil(recipe.warm_up * steps))
    rate = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda step: (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))
    )
    return adam, rate


@torch.no_grad()
def validate(model: Classifier, rows: Sequence[Row], decides: frozenset[str]) -> dict[str, float]:
    """Accuracy a data set, and `score`: the mean over tasks of the sets that decide."""
    model.eval()
    names = [task.name for task in model.tasks]
    right: dict[tuple[str, str], list[bool]] = {}
    for batch in batches(rows, 128, None):
        logits = model(**pad([row.ids for row in batch]))
        for index, row in enumerate(batch):
            best = int(logits[names.index(row.example.task)][index].argmax())
            right.setdefault((row.example.task, row.example.source), []).append(best == row.example.label)
    report = {f"{source}": sum(hits) / len(hits) for (_, source), hits in right.items()}
    scores = [sum(hits) / len(hits) for (_, source), hits in right.items() if source in decides]
    report["score"] = sum(scores) / len(scores)
    return report


def fit(
    model: Classifier,
    tokenizer: Tokenizer,
    split: Split,
    recipe: Recipe,
    decides: frozenset[str],
    run: Path,
    log: Log,
    history: Sequence[dict] = (),
) -> dict:
    """Trains in place, leaves the best epoch's weights in the model and in `<run>/best.pt`; returns its report.

    `history` holds the recipes that the weights have been through already; the checkpoint carries it on.
    """
    run.mkdir(parents=True, exist_ok=True)
    train = tokenise(tokenizer, split.train, recipe.max_tokens)
    validation = tokenise(tokenizer, split.validation, recipe.max_tokens)
    shuffle = random.Random(recipe.seed)
    per_epoch = math.ceil(len(train) / recipe.batch)
    adam, rate = optimiser(model, recipe, per_epoch * recipe.epochs)
    log.write("start", train=len(train), validation=len(validation), steps=per_epoch * recipe.epochs, **asdict(recipe))
    best: dict = {"score": -1.0}
    for epoch in range(1, recipe.epochs + 1):
        _one_epoch(model, batches(train, recipe.batch, shuffle), (adam, rate), recipe, (epoch, per_epoch), log)
        report = {"epoch": epoch, **validate(model, validation, decides)}
        log.write("epoch", **report)
        state = {
            "model": model.state_dict(),
            "report": report,
            "recipe": asdict(recipe),
            "history": list(history),
        }
        torch.save(state, run / f"epoch-{epoch}.pt")
        if report["score"] > best["score"]:
            best = report
            (run / f"epoch-{epoch}.pt").replace(run / "best.pt")
    kept = torch.load(run / "best.pt", weights_only=True)
    model.load_state_dict(kept["model"])
    model.eval()
    return best


def _one_epoch(
    model: Classifier, source: Iterator[list[Row]], steppers: tuple, recipe: Recipe, place: tuple[int, int], log: Log
) -> None:
    adam, rate = steppers
    epoch, steps = place
    names = [task.name for task in model.tasks]
    model.train()
    started, seen, losses = time.monotonic(), 0, []
    for step, batch in enumerate(source, 1):
        logits = model(**pad([row.ids for row in batch]))
        loss = masked_loss(logits, batch, names, recipe.label_smoothing)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm_max)
        adam.step()
        rate.step()
        adam.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seen += len(batch)
        if step % 25 == 0 or step == steps:
            recent = losses[-25:]
            per_second = seen / (time.monotonic() - started)
            log.write(
                "step", epoch=epoch, step=f"{step}/{steps}", loss=sum(recent) / len(recent), texts_per_second=per_second
            )
