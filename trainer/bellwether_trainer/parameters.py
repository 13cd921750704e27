"""Which initialiser of a graph holds which trainable parameter, so that a bundle is its own checkpoint.

The optimiser renames, transposes and packs (query, key and value lie side by side in one matrix), so the map is found
by value in the fp32 graph and then carried over to the quantised one, whose names follow a fixed rule.
"""

from pathlib import Path

import numpy as np
import torch

import onnx
from onnx import numpy_helper

from .dither import Grid, grid
from .errors import TrainerError
from .network import Classifier


def find(model: Classifier, fp32: Path, shipped: Path) -> list[dict]:
    """The entries of the manifest's `parameters`, one a parameter, in the order of the model. Raises if one is lost.

    What the shipped graph holds unchanged is found there; the rest in the fp32 graph, then its quantised twin.
    """
    full, held = _initialisers(fp32), _initialisers(shipped)
    entries = []
    for parameter, tensor in model.named_parameters():
        value = tensor.detach().numpy()
        entry = _locate(parameter, value, held)
        if entry is None:
            entry = _locate(parameter, value, full)
            if entry is None:
                raise TrainerError(f"no initialiser holds {parameter}")
            base = entry["initializer"]
            entry |= {
                "initializer": f"{base}_quantized",
                "scale": f"{base}_scale",
                "zero_point": f"{base}_zero_point",
            }
            missing = {entry["initializer"], entry["scale"], entry["zero_point"]} - held.keys()
            if missing:
                raise TrainerError(f"the shipped graph lacks {', '.join(sorted(missing))} for {parameter}")
        entries.append(entry)
    return entries


def _initialisers(graph: Path) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(str(graph)).graph.initializer}


def restore(graph: Path, entries: list[dict]) -> dict[str, torch.Tensor]:
    """The state of the trainable model, read back from a graph by the map of its manifest."""
    initialisers = _initialisers(graph)
    state = {}
    for entry in entries:
        value = initialisers[entry["initializer"]]
        if entry["scale"] is not None:
            # A scale a channel runs along the last axis, as do the columns of the matrix.
            zero = initialisers[entry["zero_point"]].astype(np.float32)
            value = (value.astype(np.float32) - zero) * initialisers[entry["scale"]]
        if entry["slice"] is not None:
            start, end = entry["slice"]
            value = value[..., start:end]
        if entry["transpose"]:
            value = value.T
        state[entry["parameter"]] = torch.from_numpy(np.array(value, dtype=np.float32))
    return state


def grids(graph: Path, entries: list[dict]) -> dict[str, Grid]:
    """Where the quantised parameters lie: those of the map that have a scale."""
    initialisers = _initialisers(graph)
    values, found = restore(graph, entries), {}
    for entry in (entry for entry in entries if entry["scale"] is not None):
        # One for all, or one a column.
        step = torch.from_numpy(np.array(initialisers[entry["scale"]], dtype=np.float32).reshape(1, -1))
        if step.shape[1] > 1:
            if entry["slice"] is not None:
                step = step[:, entry["slice"][0] : entry["slice"][1]]
            step = step.T if entry["transpose"] else step
        found[entry["parameter"]] = grid(values[entry["parameter"]], step)
    return found


def _locate(parameter: str, value: np.ndarray, initialisers: dict[str, np.ndarray]) -> dict | None:
    """Tries the parameter's own name first, then every initialiser: equal, transposed, or a slice of the last axis."""
    order = sorted(initialisers, key=lambda name: (name != parameter, name))
    for name in order:
        held = initialisers[name]
        for transpose in (False, True) if value.ndim == 2 else (False,):
            wanted = value.T if transpose else value
            if held.ndim != wanted.ndim or held.shape[:-1] != wanted.shape[:-1]:
                continue
            width = wanted.shape[-1]
            for start in range(0, held.shape[-1] - width + 1, width):
                if np.array_equal(held[..., start : start + width], wanted):
                    whole = held.shape[-1] == width
                    return {
                        "initializer": name,
                        "parameter": parameter,
                        "slice": None if whole else [start, start + width],
                        "transpose": transpose,
                        "scale": None,
                        "zero_point": None,
                    }
    return None
