"""The fp32 graph to int8: weights a channel, activations by scales measured once (`fixed_scales.py`).

Two passes. Matrices get the reduced range (7 bits), so that processors without VNNI do not overflow and give the same
answers; the embedding tables, which are only looked up, keep all 8 bits. The heads stay fp32: they are tiny.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnxruntime.quantization import QuantType, quantize_dynamic

import onnx

from . import fixed_scales
from .errors import TrainerError
from .export import attention_count
from .tasks import Task


def quantise(source: Path, target: Path, tasks: tuple[Task, ...], feeds: Sequence[dict[str, np.ndarray]] = ()) -> None:
    """Writes the int8 graph. Raises if a fused attention node got lost.

    Activations are scaled as they are in `feeds`, batches of the graph's inputs; without any, each batch by itself.
    """
    logging.getLogger().setLevel(logging.ERROR)
    graph = onnx.load(str(source))
    outputs = {task.output for task in tasks}
    # The quantiser splits a Gemm into a MatMul and an Add before it looks at the names to leave out.
    heads = [node.name + end for node in graph.graph.node if outputs & set(node.output) for end in ("", "_MatMul")]
    between, dynamic = target.with_name("between.onnx"), target.with_name("dynamic.onnx")
    # Shape inference stops at nodes of other domains (fused ones); what it does not know is fp32.
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(
        source,
        between,
        op_types_to_quantize=["Gather"],
        weight_type=QuantType.QUInt8,
        nodes_to_exclude=heads,
        extra_options=options,
    )
    quantize_dynamic(
        between,
        dynamic,
        per_channel=True,
        reduce_range=True,
        op_types_to_quantize=["MatMul", "Attention"],
        weight_type=QuantType.QInt8,
        nodes_to_exclude=heads,
        extra_options=options,
    )
    between.unlink()
    if feeds:
        fixed_scales.fix(dynamic, target, feeds)
        dynamic.unlink()
    else:
        dynamic.replace(target)
    before, after = attention_count(graph), attention_count(onnx.load(str(target)))
    if before != after:
        raise TrainerError(f"quantising kept {after} of {before} attention nodes")
