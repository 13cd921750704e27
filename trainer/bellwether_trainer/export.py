"""Torch model to an ONNX graph with fused attention, counted.

Of the ways to export, one fuses: eager attention, the exporter that traces (`dynamo=False`), then ONNX Runtime's
optimiser for BERT. If the count of fused nodes is not one a layer, the graph would be slow, so that is an error.
"""

import warnings
from pathlib import Path

import torch
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

import onnx

from .errors import TrainerError
from .network import Classifier

OPSET = 17
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(model: Classifier, path: Path) -> None:
    """Writes the fp32 graph: dynamic batch and length, outputs named for tasks. Raises if attention is not fused."""
    raw = path.with_name("raw.onnx")
    _trace(model, raw)
    options = FusionOptions("bert")
    # The embeddings stay apart from their norm, so that each table can be quantised on its own.
    options.enable_embed_layer_norm = False
    config = model.config
    fused = optimizer.optimize_model(
        str(raw),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=options,
        opt_level=0,
    )
    count = attention_count(fused.model)
    if count != config.num_hidden_layers:
        raise TrainerError(f"{count} of {config.num_hidden_layers} attention layers were fused")
    fused.save_model_to_file(str(path))
    raw.unlink()


def attention_count(graph: onnx.ModelProto) -> int:
    """How many fused attention nodes a graph has, quantised or not."""
    return sum(node.op_type in ("Attention", "QAttention") for node in graph.graph.node)


def _trace(model: Classifier, path: Path) -> None:
    model.eval()
    ids = torch.ones((2, 8), dtype=torch.int64)
    # One padded row: a mask of ones alone could be folded away.
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    outputs = [task.output for task in model.tasks]
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS} | {name: {0: "batch"} for name in outputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (ids, mask, torch.zeros_like(ids)),
            str(path),
            input_names=list(INPUTS),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
