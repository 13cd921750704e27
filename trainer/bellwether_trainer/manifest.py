"""From a trained model to a finished model directory: graph, calibration, golden inputs, manifest."""

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from . import bundle, calibrate, parameters, teach, whole
from .data import Example
from .errors import DataError, TrainerError, UsageError
from .export import OPSET, export
from .network import Classifier, read_tokenizer
from .quantise import quantise
from .tasks import Task

PROBABILITY_TOLERANCE = 0.02
"""How far a golden probability may lie from the recorded one; the label must be the same."""

PARITY_TEXTS, PARITY_TOLERANCE = 200, 1e-3
"""On so many texts the fp32 graph must give the model's probabilities, within this."""

CHECKPOINT = "checkpoint.pt"
"""The weights before quantising, for the next training; no part of what is loaded to answer."""

TYPICAL_TEXTS = 512
"""Texts of the training cut on which the scales of the int8 graph are measured."""

SHAPE = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
)
"""What of the encoder's configuration a bundle keeps: all that rebuilding the trainable model needs."""


@dataclass(frozen=True)
class Identity:
    """What a bundle is called and which languages it answers."""

    name: str
    version: str
    precision: str = "int8"
    parent: str | None = None
    languages: tuple[str, ...] = ("en",)


def typical(texts: Sequence[str], seed: int) -> list[str]:
    """What the int8 graph is scaled on, drawn from the training texts."""
    return random.Random(seed).sample(list(texts), min(len(texts), TYPICAL_TEXTS))


def finish(
    model: Classifier,
    tokenizer: Tokenizer,
    validation: Sequence[Example],
    texts: Sequence[str],
    identity: Identity,
    training: dict,
    max_tokens: int,
    out: Path,
    typical: Sequence[str] = (),
    kept: Mapping[str, dict[str, float]] | None = None,
    checkpoint: Mapping[str, Tensor] | None = None,
    complete: Callable[[Path], object] | None = None,
) -> dict:
    """Writes `<out>/` (renamed into place when whole) and returns the manifest.

    Calibration, metrics and golden outputs are measured on the very file that ships. The int8 graph's activations are
    scaled on `typical` texts, which must not be those of the validation cut. Tasks in `kept` are not calibrated but
    get the temperature and the threshold that stand there. The weights in `checkpoint` are laid beside the graph.
    What `complete` adds to the folder is there when it gets its name. Raises UsageError where `<out>` is there.
    """
    refuse_taken(out)
    aside = out.with_name(f".making-{out.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _fill(
            model, tokenizer, validation, texts, identity, training, max_tokens, aside, typical, kept or {}, checkpoint
        )
        if complete is not None:
            complete(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    whole.put(aside, out)
    return read(out)


def refuse_taken(out: Path) -> None:
    """Raises UsageError where a version is there already: what may answer today is never written over."""
    if out.exists():
        raise UsageError(f"{out}: is there already; name another --version")


def _fill(
    model: Classifier,
    tokenizer: Tokenizer,
    validation: Sequence[Example],
    texts: Sequence[str],
    identity: Identity,
    training: dict,
    max_tokens: int,
    aside: Path,
    typical: Sequence[str],
    kept: Mapping[str, dict[str, float]],
    checkpoint: Mapping[str, Tensor] | None,
) -> None:
    fp32 = aside / "model.fp32.onnx"
    export(model, fp32)
    sample = [*texts, *typical, *(example.text for example in validation)][:PARITY_TEXTS]
    parity(model, fp32, tokenizer, sample, max_tokens)
    shipped = aside / f"model.{identity.precision}.onnx"
    if identity.precision == "int8":
        quantise(fp32, shipped, model.tasks, bundle.feeds(tokenizer, typical, max_tokens))
    tokenizer.save(str(aside / "tokenizer.json"), pretty=False)
    bundle.write_json(aside / "config.json", _config(model, max_tokens))
    scorer = bundle.Scorer(shipped, tokenizer, max_tokens)
    calibration, metrics = measure(scorer, validation, model.tasks, kept)
    temperatures = {name: values["temperature"] for name, values in calibration.items()}
    if checkpoint is not None:
        torch.save({"model": dict(checkpoint)}, aside / CHECKPOINT)
        training = training | {"checkpoint": {"file": CHECKPOINT, "sha256": bundle.sha256(aside / CHECKPOINT)}}
    manifest = {
        "format": bundle.FORMAT,
        "name": identity.name,
        "version": identity.version,
        "parent": identity.parent,
        "created_at": bundle.now(),
        "languages": list(identity.languages),
        "max_tokens": max_tokens,
        "tasks": [bundle.task_entry(task, **calibration[task.name]) for task in model.tasks],
        "variants": [
            {
                "precision": identity.precision,
                "file": shipped.name,
                "devices": ["cpu"],
                "sha256": bundle.sha256(shipped),
                "opset": OPSET,
                "golden": bundle.golden(scorer, texts, model.tasks, temperatures),
            }
        ],
        "files": {name: bundle.sha256(aside / name) for name in ("tokenizer.json", "config.json")},
        "training": training,
        "metrics": {"validation": metrics},
        "parameters": parameters.find(model, fp32, shipped),
    }
    if fp32 != shipped:
        fp32.unlink()
    bundle.write_json(aside / "manifest.json", manifest)
    verify(aside)


def parity(model: Classifier, graph: Path, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> None:
    """Raises TrainerError where the fp32 graph gives other probabilities than the model that it was made of."""
    asked = teach.ask(model, tokenizer, texts, max_tokens)
    logits = bundle.Scorer(graph, tokenizer, max_tokens).logits(texts, model.tasks)
    for task in model.tasks:
        far = np.abs(calibrate.softmax(logits[task.name], 1.0) - asked[task.name].detach().numpy()).max()
        if far > PARITY_TOLERANCE:
            raise TrainerError(f"{graph.name} answers otherwise than the model: {task.name} by up to {far:.4f}")


def measure(
    scorer: bundle.Scorer,
    validation: Sequence[Example],
    tasks: Sequence[Task],
    kept: Mapping[str, dict[str, float]],
) -> tuple[dict, dict]:
    """Calibration and metrics a task. A task in `kept` has its calibration already; another one without validation
    rows (random weights) stays as it is: 1.0 and 0.0."""
    calibration, metrics = {}, {}
    for task in tasks:
        mine = [example for example in validation if example.task == task.name]
        if not mine:
            calibration[task.name] = kept.get(task.name, {"temperature": 1.0, "abstain_below": 0.0})
            continue
        logits = scorer.logits([example.text for example in mine], [task])[task.name]
        labels = np.array([example.label for example in mine])
        if task.name in kept:
            calibration[task.name] = dict(kept[task.name])
        else:
            heat = round(calibrate.temperature(logits, labels), 6)
            threshold = calibrate.abstain_below(calibrate.softmax(logits, heat), labels)
            calibration[task.name] = {"temperature": heat, "abstain_below": threshold}
        probabilities = calibrate.softmax(logits, calibration[task.name]["temperature"])
        metrics[task.name] = calibrate.scores(probabilities, labels, calibration[task.name]["abstain_below"])
    return calibration, metrics


def read(directory: Path) -> dict:
    """A directory's manifest. Raises DataError where there is none or it has another format."""
    path = directory / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if manifest.get("format") != bundle.FORMAT:
        raise DataError(f"{path}: format {manifest.get('format')!r}, expected {bundle.FORMAT}")
    return manifest


def calibration_of(manifest: dict) -> dict[str, dict[str, float]]:
    """Temperature and threshold a task."""
    return {
        task["name"]: {"temperature": task["temperature"], "abstain_below": task["abstain_below"]}
        for task in manifest["tasks"]
    }


def tasks_of(manifest: dict) -> tuple[Task, ...]:
    """The tasks that a manifest describes."""
    return tuple(Task(item["name"], tuple(item["labels"]), item.get("aliases", {})) for item in manifest["tasks"])


def verify(directory: Path) -> None:
    """Hashes and golden inputs of a finished directory. Raises DataError on the first that does not hold."""
    manifest = read(directory)
    tasks = tasks_of(manifest)
    temperatures = {item["name"]: item["temperature"] for item in manifest["tasks"]}
    hashes = dict(manifest["files"]) | {item["file"]: item["sha256"] for item in manifest["variants"]}
    for name, expected in hashes.items():
        if not (directory / name).is_file() or bundle.sha256(directory / name) != expected:
            raise DataError(f"{directory / name}: missing or altered")
    tokenizer = read_tokenizer(directory / "tokenizer.json")
    # What is for other devices alone may use what the processor cannot.
    for variant in (variant for variant in manifest["variants"] if "cpu" in variant["devices"]):
        scorer = bundle.Scorer(directory / variant["file"], tokenizer, manifest["max_tokens"])
        found = bundle.golden(scorer, [entry["text"] for entry in variant["golden"]], tasks, temperatures)
        for entry, again in zip(variant["golden"], found, strict=True):
            _compare(entry, again)


def _compare(entry: dict, again: dict) -> None:
    for task, expected in entry["outputs"].items():
        answer = again["outputs"][task]
        far = abs(answer["probability"] - expected["probability"]) > PROBABILITY_TOLERANCE
        if far or answer["label"] != expected["label"]:
            raise TrainerError(f"golden input {entry['text']!r}: {task} is {answer}, recorded {expected}")


def _config(model: Classifier, max_tokens: int) -> dict:
    config = {key: getattr(model.config, key) for key in SHAPE}
    labels = {task.name: {str(index): label for index, label in enumerate(task.labels)} for task in model.tasks}
    return config | {"max_tokens": max_tokens, "pooling": "mean", "id2label": labels}
