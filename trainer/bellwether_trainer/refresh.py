"""A version that learns what people have labelled since, and keeps what the champion knew.

It starts from the champion's weights, learns gently and for a few epochs, and stops where the validation rows get no
better. Beside each new label stand unlabelled texts with the champion's own answers (distillation), so that it does not
forget; a row labelled for one task gets the champion's answer for the other.
"""

import hashlib
import json
import math
import random
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from . import augment, bundle, dataset, dither, dropout, loop, manifest, methods, train, variants, whole
from .champion import Champion, load
from .dataset import Dataset
from .errors import UsageError
from .log import Log
from .network import encode, pad
from .packing import batches

CALIBRATION_ROWS_MIN = 50
"""Validation rows of a task below which the champion's temperature and threshold stay."""

_VERSION = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SOFT = train.Recipe(unlabelled_weight=1.0)


@dataclass(frozen=True)
class Recipe:
    """How a refresh learns; it is written into the manifest as it is."""

    method: str = "full"
    """What learns: one of `methods.METHODS` that can be exported."""
    rank: int = 8
    """Of LoRA's matrices; of AdaLoRA's on average, in the end."""
    method_learning_rate: float = 1e-3
    """How fast that learns which a method other than full adds; `learning_rate` and `layer_decay` are for full."""
    epochs: int = 6
    batch: int = 32
    learning_rate: float = 5e-5
    layer_decay: float = 0.9
    head_learning_rate: float = 1e-3
    warm_up: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    varied_share: float = 0.3
    """The share of texts that each kind of augmentation changes."""
    champion_share: float = 0.3
    """How much the champion's answer weighs beside a new label of the same task."""
    replay: float = 2.0
    """Unlabelled texts an epoch, as a multiple of the labelled ones; each epoch takes the next."""
    unlabelled_max: int = 4000
    patience: int = 2
    """Epochs without a better validation loss after which it stops."""
    gradient_norm_max: float = 1.0
    seed: int = 7


@dataclass(frozen=True)
class Order:
    """What is asked for: `<out>/<name>/<version>`, from a champion and a dataset."""

    dataset: Path
    champion: Path
    run: Path
    out: Path
    name: str
    version: str

    @property
    def candidate(self) -> Path:
        """The directory that there will be."""
        return self.out / self.name / self.version


@dataclass(frozen=True)
class Taught:
    """A text and what is to be answered, calibrated: one distribution a task, in the order of the tasks."""

    text: str
    soft: tuple[Tensor, ...]


def refresh(order: Order, recipe: Recipe, log: Log) -> None:
    """Makes the candidate. Started again with the same run directory it goes on, or says again that it has ended.

    Raises DataError for data that cannot be used; UsageError where the candidate or the run belongs to something else.
    """
    if not _VERSION.fullmatch(order.version) or order.version == order.champion.resolve().name:
        raise UsageError(f"version `{order.version}` must be a new one, of letters, digits, - and _")
    clock = _Clock()
    champion = load(order.champion)
    if champion.written["name"] != order.name:
        raise UsageError(f"{order.champion} is a version of {champion.written['name']}, not of {order.name}")
    rows = dataset.read(order.dataset, champion.tasks, champion.written["version"], recipe.unlabelled_max)
    mark = _mark(order, recipe, rows)
    if order.candidate.exists():
        written = manifest.read(order.candidate)
        if written["training"].get("run") != mark:
            raise UsageError(f"{order.candidate}: is there already; name another version")
        _done(order, written, clock, log)
        return
    _claim(order.run, mark)
    clock.lap("read")
    log.write(
        "start", champion=champion.written["version"], version=order.version, labelled=len(rows.train),
        left_out=rows.left_out, unlabelled=len(rows.unlabelled), validation=len(rows.validation), epochs=recipe.epochs,
    )  # fmt: skip
    for task, counts in rows.one_class.items():
        for label, count in counts.items():
            log.write("warning", said="labels of one class only are left out", task=task, label=label, labels=count)
    log.write("epoch", epoch=0, epochs=recipe.epochs, **judge(champion, rows), best=False)
    labelled, replay = lessons(champion, rows, recipe)
    clock.lap("answers")
    report = learn(champion, labelled, replay, rows, recipe, order.run, log)
    clock.lap("train")
    log.write("write", best_epoch=report["epoch"])
    written = _write(order, champion, rows, recipe, report, mark)
    clock.lap("write")
    _done(order, written, clock, log)


def lessons(champion: Champion, rows: Dataset, recipe: Recipe) -> tuple[list[Taught], list[Taught]]:
    """The labelled texts and the replay. What neither people nor the champion said of a text its trainable model is
    asked."""
    texts = [row.text for row in (*rows.train, *rows.unlabelled)]
    asked = champion.ask(texts)
    labelled, replay = [], []
    for place, row in enumerate(rows.train):
        soft = []
        for task in champion.tasks:
            answer = asked[task.name][place]
            if task.name in row.labels:
                label = nn.functional.one_hot(torch.tensor(row.labels[task.name]), len(task.labels))
                answer = (1.0 - recipe.champion_share) * label + recipe.champion_share * answer
            soft.append(answer)
        labelled.append(Taught(row.text, tuple(soft)))
    for place, row in enumerate(rows.unlabelled, len(rows.train)):
        soft = [
            torch.tensor(row.said[task.name]) if task.name in row.said else asked[task.name][place]
            for task in champion.tasks
        ]
        replay.append(Taught(row.text, tuple(soft)))
    return labelled, replay


def judge(champion: Champion, rows: Dataset) -> dict[str, float | None]:
    """On the validation rows: the accuracy a task, and `loss`, the mean over tasks in nats; None without any row."""
    losses, report = [], {}
    for task in champion.tasks:
        mine = [row for row in rows.validation if task.name in row.labels]
        if not mine:
            continue
        asked = champion.ask([row.text for row in mine])
        truth = torch.tensor([row.labels[task.name] for row in mine])
        right = asked[task.name].gather(1, truth[:, None]).clamp(min=1e-6)
        losses.append(-right.log().mean().item())
        report[task.name] = (asked[task.name].argmax(dim=1) == truth).float().mean().item()
    return {"loss": sum(losses) / len(losses) if losses else None, **report}


def learn(
    champion: Champion,
    labelled: Sequence[Taught],
    replay: Sequence[Taught],
    rows: Dataset,
    recipe: Recipe,
    run: Path,
    log: Log,
) -> dict:
    """Trains the champion's model in place, leaves the best epoch's weights in it and in `<run>/best.pt`.

    Returns that epoch's report. The best is the one of least validation loss; without validation rows it is the last.
    A run that was finished is not trained again.
    """
    model, best, ended = champion.model, run / "best.pt", run / "trained"
    choices = augment.pool(dataset.examples(rows.train))
    replayed = min(len(replay), round(recipe.replay * len(labelled)))

    def epoch(number: int) -> list[list[train.Row]]:
        chance = random.Random(recipe.seed * 1000 + number)
        start = (number - 1) * replayed
        mine = [*labelled, *(replay[(start + place) % len(replay)] for place in range(replayed))]
        told = [augment.vary(taught.text, (), choices, recipe.varied_share, chance) for taught in mine]
        ids = encode(champion.tokenizer, told, champion.max_tokens)
        taught = [train.Row(row, None, lesson.soft) for row, lesson in zip(ids, mine, strict=True)]
        return list(batches(taught, recipe.batch, chance, lambda row: len(row.ids)))

    names = [task.name for task in champion.tasks]
    heats = [champion.calibration[name]["temperature"] for name in names]

    def loss(batch: list[train.Row]) -> Tensor:
        # What the pipeline kept are calibrated answers, so ours are compared with them after the temperature too.
        logits = model(**pad([row.ids for row in batch]))
        heated = [output.float() / heat for output, heat in zip(logits, heats, strict=True)]
        return train.row_loss(heated, batch, names, _SOFT) + method.penalty()

    def keep(number: int) -> bool:
        report = {"epoch": number, **judge(champion, rows)}
        before = torch.load(best, weights_only=True)["report"] if best.is_file() else None
        better = before is None or report["loss"] is None or report["loss"] < before["loss"]
        log.write("epoch", epochs=recipe.epochs, **report, best=better)
        if better:
            whole.save({"model": method.state(), "report": report}, best)
        return not better and number - before["epoch"] >= recipe.patience

    steps = math.ceil((len(labelled) + replayed) / recipe.batch) * recipe.epochs
    method = methods.install(model, methods.Choice(recipe.method, recipe.rank), steps, champion.max_tokens)
    if not ended.is_file():
        if not (run / loop.STATE).is_file():
            best.unlink(missing_ok=True)
        groups = methods.rates(model, recipe)
        plan = loop.Plan(recipe.epochs, recipe.warm_up, recipe.gradient_norm_max, recipe.seed, loop.bf16_pays())
        chance = dropout.install(model, recipe.dropout, recipe.seed)
        loop.Stage(model, groups, plan, epoch, loss, chance, run, log, method.after_step).run(keep)
        ended.touch()
    kept = torch.load(best, weights_only=True)
    method.restore(kept["model"])
    model.eval()
    return kept["report"]


def _write(order: Order, champion: Champion, rows: Dataset, recipe: Recipe, report: dict, mark: str) -> dict:
    before, told = champion.written, champion.written["training"]
    variant = bundle.trained_file(before)
    validation = dataset.examples(rows.validation)
    counts = {task.name: sum(example.task == task.name for example in validation) for task in champion.tasks}
    kept = {name: champion.calibration[name] for name, count in counts.items() if count < CALIBRATION_ROWS_MIN}
    training = {
        "data": told.get("data", []),
        "recipe": asdict(recipe) | {"max_tokens": champion.max_tokens, "best_epoch": report["epoch"]},
        "continued_from": [*told.get("continued_from", []), told["recipe"]],
        "dataset": {
            "sha256": rows.sha256,
            "labelled": len(rows.train),
            "unlabelled": len(rows.unlabelled),
            "validation": len(rows.validation),
            "classes": rows.classes(champion.tasks),
        },
        "calibration_kept": sorted(kept),
        "seed": recipe.seed,
        "run": mark,
    }
    texts = [row.text for row in (*rows.train, *rows.unlabelled)]
    trained = {name: value.clone() for name, value in champion.model.state_dict().items()}
    dither.settle(champion.model, champion.grids, recipe.seed)

    def complete(made: Path) -> None:
        # What the champion has for other devices the candidate has too: who runs on CUDA stays there.
        for other in before["variants"]:
            if other["precision"] != variant["precision"]:
                variants.add(made, other["precision"])

    return manifest.finish(
        champion.model,
        champion.tokenizer,
        validation,
        [entry["text"] for entry in variant["golden"]],
        manifest.Identity(
            order.name, order.version, variant["precision"], before["version"], tuple(before["languages"])
        ),
        training,
        champion.max_tokens,
        order.candidate,
        manifest.typical(texts, recipe.seed),
        kept,
        checkpoint=trained,
        complete=complete,
    )


def _done(order: Order, written: dict, clock: "_Clock", log: Log) -> None:
    metrics = written["metrics"]["validation"]
    log.write("done", directory=str(order.candidate), version=order.version, seconds=clock.seconds(), **metrics)


def _mark(order: Order, recipe: Recipe, rows: Dataset) -> str:
    """What makes two runs the same one: all that decides what comes out."""
    parts = {
        "dataset": rows.contents,
        "champion": bundle.sha256(order.champion / "manifest.json"),
        "recipe": asdict(recipe),
        "version": order.version,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _claim(run: Path, mark: str) -> None:
    """The run directory belongs to one refresh: half of another one must not go into this one."""
    run.mkdir(parents=True, exist_ok=True)
    held = run / "refresh.json"
    if not held.is_file():
        bundle.write_json(held, {"run": mark})
    elif json.loads(held.read_text(encoding="utf-8"))["run"] != mark:
        raise UsageError(f"{run} holds a run with other data, champion or recipe; name another --run-dir")


class _Clock:
    """Seconds of each step, of this process alone."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._laps[name] = round(now - self._since, 1)
        self._since = now

    def seconds(self) -> dict[str, float]:
        return dict(self._laps)
