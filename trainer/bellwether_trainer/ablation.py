"""What each part of the recipe is worth: the same short training with one part more at a time, on a share of the rows;
and what each method of training costs and gives.

A variant that has its report is not trained again, so the table can be made in pieces and after interruptions.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .methods import METHODS
from .train import Recipe


@dataclass(frozen=True)
class Variant:
    """A recipe, and whether it begins with the encoder that was pre-trained further or learns from teachers."""

    name: str
    recipe: Recipe
    pretrained: bool = False
    taught: bool = False


def variants(base: Recipe) -> list[Variant]:
    """Each variant is the one before it and one part more."""
    plain = replace(base, learning_rate=1e-4, layer_decay=1.0, label_smoothing=0.0, varied_share=0.0, hidden_words=0.0)
    smooth = replace(plain, label_smoothing=base.label_smoothing)
    layered = replace(smooth, learning_rate=base.learning_rate, layer_decay=base.layer_decay)
    varied = replace(layered, varied_share=base.varied_share, hidden_words=base.hidden_words)
    return [
        Variant("plain", plain),
        Variant("label smoothing", smooth),
        Variant("layer-wise rates", layered),
        Variant("augmentation, hidden words", varied),
        Variant("further pre-training", varied, pretrained=True),
        Variant("teachers, unlabelled posts", varied, pretrained=True, taught=True),
    ]


def table(variants: list[Variant], run: Path, train: Callable[[Variant, Path], dict]) -> str:
    """Trains what is missing below `run` and returns a Markdown table of the validation cut's accuracies."""
    rows, sources = [], []
    for variant, found in zip(variants, measured(variants, run, train), strict=True):
        sources = sources or sorted(key for key in found if key not in ("epoch", "score"))
        rows.append(f"| {variant.name} | " + " | ".join(f"{found[source]:.4f}" for source in sources) + " |")
    head = "| with | " + " | ".join(sources) + " |"
    return "\n".join([head, "| --- |" + " --- |" * len(sources), *rows])


def by_method(base: Recipe) -> list[Variant]:
    """The same recipe by each method."""
    return [Variant(method, replace(base, method=method)) for method in METHODS]


def costs(variants: list[Variant], run: Path, train: Callable[[Variant, Path], dict]) -> str:
    """Trains what is missing and returns a Markdown table of the validation score, the seconds and what learned."""
    rows = [
        f"| {variant.name} | {found['score']:.4f} | {found['seconds']:.0f} | {100 * found['trainable_share']:.2f} % |"
        for variant, found in zip(variants, measured(variants, run, train), strict=True)
    ]
    return "\n".join(["| method | score | seconds | trainable share |", "| --- |" + " --- |" * 3, *rows])


def measured(variants: list[Variant], run: Path, train: Callable[[Variant, Path], dict]) -> list[dict]:
    """The variants' reports, kept in `<run>/<variant>/report.json`; trains those that have none."""
    reports = []
    for variant in variants:
        folder = run / variant.name.replace(",", "").replace(" ", "-")
        report = folder / "report.json"
        if not report.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            found = train(variant, folder)
            report.write_text(json.dumps(found) + "\n", encoding="utf-8")
        reports.append(json.loads(report.read_text(encoding="utf-8")))
    return reports
