"""Fine-tuning: mixed batches, a loss for rows with one label or none, the best epoch by the validation cut."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from . import augment, bundle, dropout, loop, methods, whole
from .data import Example, Split
from .log import Log
from .network import Classifier, encode, pad
from .packing import batches
from .teach import Answers


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a model is trained; it is written into the manifest as it is."""

    method: str = "full"
    """What learns: one of `methods.METHODS`."""
    rank: int = 8
    """Of LoRA's matrices; of AdaLoRA's on average, in the end."""
    prefix_tokens: int = 16
    adapter_width: int = 64
    method_learning_rate: float = 1e-3
    """How fast that learns which a method other than full adds; `learning_rate` and `layer_decay` are for full."""
    epochs: int = 3
    patience: int = 0
    """Epochs without a better score on the validation cut after which training stops; 0 is never."""
    batch: int = 64
    max_tokens: int = 96
    learning_rate: float = 1.5e-4
    layer_decay: float = 0.9
    """How fast a layer learns, as a share of the one above it; 1 is the same for all."""
    head_learning_rate: float = 5e-4
    warm_up: float = 0.06
    weight_decay: float = 0.01
    dropout: float = 0.1
    label_smoothing: float = 0.05
    varied_share: float = 0.4
    """The share of texts that each kind of augmentation changes."""
    hidden_words: float = 0.05
    """The share of tokens that are hidden from the model."""
    soft_share: float = 0.5
    """How much the teachers' answer weighs against the label, where there are teachers."""
    unlabelled_weight: float = 1.0
    unlabelled_per_label: float = 1.0
    """How many texts without a label an epoch has for each with one, at most; each epoch draws its own."""
    gradient_norm_max: float = 1.0
    validation_share: float = 0.15
    """0: every row is trained on, nothing is left to choose by, and the last epoch is kept."""
    rows_share: float = 1.0
    """The share of the training rows that is used, by their place; for ablations."""
    seed: int = 7


@dataclass(frozen=True)
class Row:
    """A text as token ids, its label if it has one, and what the teachers say of it: one distribution a task."""

    ids: list[int]
    example: Example | None
    soft: tuple[Tensor, ...] | None = None


def tokenise(tokenizer: Tokenizer, examples: Sequence[Example], max_tokens: int) -> list[Row]:
    """Rows in the order of the examples."""
    ids = encode(tokenizer, [example.text for example in examples], max_tokens)
    return [Row(row, example) for row, example in zip(ids, examples, strict=True)]


def row_loss(logits: Sequence[Tensor], rows: Sequence[Row], names: Sequence[str], recipe: Recipe) -> Tensor:
    """Mean over the batch. A label counts in its own task's head alone, by its weight; the teachers' answer in all."""
    hard_weight, soft_weight = [], []
    for row in rows:
        share = recipe.soft_share if row.soft is not None else 0.0
        hard_weight.append(row.example.weight * (1.0 - share) if row.example else 0.0)
        soft_weight.append((share if row.example else recipe.unlabelled_weight) if row.soft is not None else 0.0)
    total = logits[0].new_zeros((), dtype=torch.float32)
    for place, (name, output) in enumerate(zip(names, logits, strict=True)):
        output = output.float()
        mine = [index for index, row in enumerate(rows) if row.example and row.example.task == name]
        if mine:
            target = torch.tensor([rows[index].example.label for index in mine], device=output.device)
            weight = torch.tensor([hard_weight[index] for index in mine], device=output.device)
            smoothing = recipe.label_smoothing
            loss = nn.functional.cross_entropy(output[mine], target, reduction="none", label_smoothing=smoothing)
            total = total + (loss * weight).sum()
        taught = [index for index, row in enumerate(rows) if row.soft is not None]
        if taught:
            wanted = torch.stack([rows[index].soft[place] for index in taught]).to(output.device)
            weight = torch.tensor([soft_weight[index] for index in taught], device=output.device)
            loss = nn.functional.cross_entropy(output[taught], wanted, reduction="none")
            total = total + (loss * weight).sum()
    return total / max(sum(hard_weight) + sum(soft_weight), 1e-6)


@torch.no_grad()
def validate(model: Classifier, rows: Sequence[Row], decides: frozenset[str]) -> dict[str, float]:
    """Accuracy a data set, and `score`: the mean over tasks of the sets that decide; nothing of no rows."""
    model.eval()
    device = next(model.parameters()).device
    names = [task.name for task in model.tasks]
    right: dict[str, list[bool]] = {}
    for batch in batches(rows, 128, None, _length):
        logits = model(**_moved(pad([row.ids for row in batch]), device))
        for index, row in enumerate(batch):
            best = int(logits[names.index(row.example.task)][index].argmax())
            right.setdefault(row.example.source, []).append(best == row.example.label)
    report = {source: sum(hits) / len(hits) for source, hits in sorted(right.items())}
    scores = [value for source, value in report.items() if source in decides]
    if scores:
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
    answers: Answers | None = None,
    unlabelled: Sequence[str] = (),
    heard: Callable[[dict], None] = lambda report: None,
) -> dict:
    """Trains in place, leaves the best epoch's weights in the model and in `<run>/best.pt`; returns its report.

    It trains where the model lies and leaves it on the processor. A run that was finished is not trained again.
    `history` holds the recipes that the weights have been through already; the checkpoint carries it on. `unlabelled`
    texts count only with the teachers' `answers`. `heard` gets each epoch's report and may raise to give the run up.
    What it took lies in `<run>/cost.json`: `seconds` and the `trainable_share`.
    """
    run.mkdir(parents=True, exist_ok=True)
    labelled = [example for example in split.train if _kept(example.text, recipe.rows_share)]
    validation = tokenise(tokenizer, split.validation, recipe.max_tokens)
    choices = augment.pool(labelled)
    taught = [text for text in unlabelled if answers and answers.of(text)]
    unlabelled_count = min(len(taught), round(recipe.unlabelled_per_label * len(labelled)))
    texts_count = len(labelled) + unlabelled_count

    def epoch(number: int) -> list[list[Row]]:
        chance = random.Random(recipe.seed * 1000 + number)
        texts: list[tuple[str, Example | None]] = [(example.text, example) for example in labelled]
        texts += [(text, None) for text in chance.sample(taught, unlabelled_count)]
        told = [
            augment.vary(text, example.names if example else (), choices, recipe.varied_share, chance)
            for text, example in texts
        ]
        ids = encode(tokenizer, told, recipe.max_tokens)
        rows = [
            Row(row, example, answers.of(text) if answers else None)
            for row, (text, example) in zip(ids, texts, strict=True)
        ]
        return list(batches(rows, recipe.batch, chance, _length))

    names = [task.name for task in model.tasks]
    hidden_id = tokenizer.token_to_id("[MASK]") or tokenizer.token_to_id("[UNK]")

    def loss(batch: list[Row]) -> Tensor:
        inputs = pad([row.ids for row in batch])
        ids = inputs["input_ids"]
        hidden = (torch.rand(ids.shape) < recipe.hidden_words) & inputs["attention_mask"].bool()
        hidden[:, 0] = False
        inputs = _moved(inputs | {"input_ids": ids.masked_fill(hidden, hidden_id)}, device)
        return row_loss(model(**inputs), batch, names, recipe) + method.penalty()

    device = next(model.parameters()).device
    steps = math.ceil(texts_count / recipe.batch) * recipe.epochs
    choice = methods.Choice(recipe.method, recipe.rank, recipe.prefix_tokens, recipe.adapter_width)
    method = methods.install(model, choice, steps, recipe.max_tokens)
    share = method.trainable_share()
    log.write(
        "start", train=texts_count, labelled=len(labelled), validation=len(validation), steps=steps,
        device=device.type, trainable_share=share, **asdict(recipe),
    )  # fmt: skip
    groups = methods.rates(model, recipe)
    bf16 = loop.bf16_pays(device.type)
    plan = loop.Plan(recipe.epochs, recipe.warm_up, recipe.gradient_norm_max, recipe.seed, bf16, device.type)
    chance = dropout.install(model, recipe.dropout, recipe.seed)

    best = run / "best.json"

    def keep(number: int) -> bool:
        report = {"epoch": number, **validate(model, validation, decides)}
        log.write("epoch", **report)
        state = {"model": method.state(), "report": report, "recipe": asdict(recipe), "history": list(history)}
        whole.save(state, run / f"epoch-{number}.pt")
        # Without a score the last epoch is the best there is.
        if "score" not in report or not best.is_file() or report["score"] > bundle.read_json(best)["score"]:
            whole.save(state, run / "best.pt")
            bundle.write_json(best, report)
        heard(report)
        best_epoch = bundle.read_json(best)["epoch"]
        if not 0 < recipe.patience <= number - best_epoch:
            return False
        log.write("stopped", epoch=number, best_epoch=best_epoch)
        stopped.touch()
        return True

    stopped, cost = run / "stopped", run / "cost.json"
    last = stopped.is_file() or (run / f"epoch-{recipe.epochs}.pt").is_file()
    # The checkpoint of the last epoch is not the end: what was best, and what it took, are written after it.
    if last and best.is_file() and cost.is_file() and not (run / loop.STATE).is_file():
        log.write("finished already")
    else:
        stage = loop.Stage(model, groups, plan, epoch, loss, chance, run, log, method.after_step)
        bundle.write_json(cost, {"seconds": round(stage.run(keep), 2), "trainable_share": share})
    kept = torch.load(run / "best.pt", weights_only=True)
    method.restore(kept["model"])
    model.cpu().eval()
    return kept["report"]


def average(checkpoints: Sequence[dict]) -> dict:
    """One checkpoint with the mean of the weights of several of one lineage; the last one's recipe speaks for it.

    Means of points around one minimum generalise a little better than each (Izmailov and others, 2018).
    """
    last = checkpoints[-1]
    weights = {key: torch.stack([one["model"][key] for one in checkpoints]).mean(dim=0) for key in last["model"]}
    parts = [{"seed": one["recipe"]["seed"], "epoch": one["report"]["epoch"]} for one in checkpoints]
    return last | {"model": weights, "averaged": parts}


def _kept(text: str, share: float) -> bool:
    # A generator seeded with the text: the same rows whatever stands beside them.
    return share >= 1.0 or random.Random(text).random() < share


def _length(row: Row) -> int:
    return len(row.ids)


def _moved(inputs: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in inputs.items()}
