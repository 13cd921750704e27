"""A model directory as a model to go on from: the graph that ships is its own checkpoint.

Where `checkpoint.pt` lies beside it, its weights before quantising are taken instead; `refresh` leaves one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertConfig

from . import bundle, manifest, parameters, teach
from .dither import Grid
from .errors import DataError
from .network import Classifier, read_tokenizer
from .tasks import Task


@dataclass(frozen=True)
class Champion:
    """A version that answers today, whole and trainable."""

    model: Classifier
    tokenizer: Tokenizer
    written: dict
    """Its manifest."""
    grids: dict[str, Grid]
    """Where its quantised parameters lie in the graph that answers."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it answers, in the order of the logits."""
        return self.model.tasks

    @property
    def max_tokens(self) -> int:
        """Tokens of its longest input."""
        return self.written["max_tokens"]

    @property
    def calibration(self) -> dict[str, dict[str, float]]:
        """Temperature and threshold a task."""
        return manifest.calibration_of(self.written)

    def ask(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Its calibrated probabilities a task, shape (texts, labels), from the trainable model."""
        asked = teach.ask(self.model, self.tokenizer, texts, self.max_tokens)
        tiny = torch.finfo(torch.float32).tiny
        return {
            name: torch.softmax(found.clamp(min=tiny).log() / self.calibration[name]["temperature"], dim=1)
            for name, found in asked.items()
        }


def load(directory: Path) -> Champion:
    """Checks the directory as `verify` does and rebuilds the model. Raises DataError where something is missing."""
    written = manifest.read(directory)
    if not written.get("parameters"):
        raise DataError(
            f"{directory}: it was imported, and its manifest does not say which weights lie where;"
            " only what the trainer made can be trained further"
        )
    manifest.verify(directory)
    shape = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config = BertConfig(**{key: shape[key] for key in manifest.SHAPE if key != "model_type"})
    # "eager" is the one form of attention that ONNX Runtime's optimiser fuses.
    config._attn_implementation = "eager"
    model = Classifier(config, manifest.tasks_of(written))
    model.load_state_dict(weights(directory, written), strict=True)
    graph = directory / bundle.trained_file(written)["file"]
    grids = parameters.grids(graph, written["parameters"])
    return Champion(model.eval(), read_tokenizer(directory / "tokenizer.json"), written, grids)


def weights(directory: Path, written: dict) -> dict[str, Tensor]:
    """The state of the trainable model. Raises DataError where the checkpoint is not the one that was written."""
    kept = directory / manifest.CHECKPOINT
    if not kept.is_file():
        return parameters.restore(directory / bundle.trained_file(written)["file"], written["parameters"])
    told = written["training"].get("checkpoint")
    if told and bundle.sha256(kept) != told["sha256"]:
        raise DataError(f"{kept}: altered; without it the int8 weights are taken")
    return torch.load(kept, weights_only=True)["model"]
