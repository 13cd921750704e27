"""A model directory on disk: run its graph with ONNX Runtime, and write it, the manifest last."""

import datetime
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from . import whole
from .calibrate import softmax
from .errors import DataError
from .network import encode, pad, read_tokenizer
from .tasks import Task

FORMAT = 1
"""The manifest's format. Readers refuse another one."""


class Scorer:
    """A graph under ONNX Runtime on the CPU, with its tokeniser: texts in, logits a task out."""

    def __init__(self, graph: Path, tokenizer: Tokenizer, max_tokens: int) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 2
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    def logits(self, texts: Sequence[str], tasks: Sequence[Task], batch: int = 32) -> dict[str, np.ndarray]:
        """Logits a task, shape (texts, labels), in the order of the texts. Batches are sorted by length."""
        rows = encode(self._tokenizer, texts, self._max_tokens)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        result = {task.name: np.zeros((len(rows), len(task.labels)), dtype=np.float32) for task in tasks}
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            inputs = {name: value.numpy() for name, value in pad([rows[index] for index in part]).items()}
            outputs = self._session.run([task.output for task in tasks], inputs)
            for task, output in zip(tasks, outputs, strict=True):
                result[task.name][part] = output
        return result


def int8_file(manifest: dict) -> str:
    """The name of the int8 graph that a manifest lists. Raises DataError where it lists none."""
    for variant in manifest["variants"]:
        if variant["precision"] == "int8":
            return variant["file"]
    raise DataError(f"{manifest['name']} {manifest['version']} has no int8 variant")


def trained_file(manifest: dict) -> dict:
    """The variant to train on from: int8, or else fp32. Raises DataError where there is neither."""
    for precision in ("int8", "fp32"):
        for variant in manifest["variants"]:
            if variant["precision"] == precision:
                return variant
    raise DataError(f"{manifest['name']} {manifest['version']} has neither an int8 nor an fp32 variant")


def scorer(directory: Path) -> Scorer:
    """The int8 graph of a model directory. Raises DataError where the directory is none."""
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{directory}: no manifest.json") from error
    return Scorer(directory / int8_file(manifest), read_tokenizer(directory / "tokenizer.json"), manifest["max_tokens"])


def feeds(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, batch: int = 16) -> list[dict[str, np.ndarray]]:
    """The graph's inputs for texts, in batches of like length."""
    rows = sorted(encode(tokenizer, texts, max_tokens), key=len)
    cut = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    return [{name: value.numpy() for name, value in pad(part).items()} for part in cut]


def golden(scorer: Scorer, texts: Sequence[str], tasks: Sequence[Task], temperatures: dict[str, float]) -> list[dict]:
    """The golden inputs with what the shipped graph answers, each text in a batch of its own."""
    entries = []
    for text in texts:
        outputs = {}
        for task in tasks:
            probabilities = softmax(scorer.logits([text], [task])[task.name], temperatures[task.name])[0]
            best = int(probabilities.argmax())
            outputs[task.name] = {"label": task.labels[best], "probability": round(float(probabilities[best]), 6)}
        entries.append({"text": text, "outputs": outputs})
    return entries


def task_entry(task: Task, temperature: float, abstain_below: float) -> dict:
    """A task as the manifest tells it. `aliases` map names in public data sets to our labels."""
    entry = {
        "name": task.name,
        "output": task.output,
        "labels": list(task.labels),
        "temperature": round(temperature, 6),
        "abstain_below": round(abstain_below, 6),
    }
    return entry | {"aliases": dict(task.aliases)} if task.aliases else entry


def sha256(path: Path) -> str:
    """Hash of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def now() -> str:
    """This moment, RFC 3339 in UTC; SOURCE_DATE_EPOCH wins where it is set, for bundles that must not change."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.datetime.fromtimestamp(int(fixed), datetime.UTC) if fixed else datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_json(path: Path) -> dict:
    """What `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Written aside and put in place, so that nobody reads half a file."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    whole.put(aside, path)
