"""The fp32 graph to int8, dynamically: weights a channel, activations as they come.

Two passes. Matrices get the reduced range (7 bits), so that processors without VNNI do not overflow and give the same
answers; the embedding tables, which are only looked up, keep all 8 bits. The heads stay fp32: they are tiny.
"""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from .errors import TrainerError
from .export import attention_count
from .tasks import Task


def quantise(source: Path, target: Path, tasks: tuple[Task, ...]) -> None:
    """Writes the int8 graph. Raises if a fused attention node got lost."""
    logging.getLogger().setLevel(logging.ERROR)
    graph = onnx.load(str(source))
    outputs = {task.output for task in tasks}
    heads = [node.name for node in graph.graph.node if outputs & set(node.output)]
    between = target.with_name("between.onnx")
    quantize_dynamic(
        source, between, per_channel=False, op_types_to_quantize=["Gather"], weight_type=QuantType.QUInt8,
        nodes_to_exclude=heads,
    )  # fmt: skip
    quantize_dynamic(
        between, target, per_channel=True, reduce_range=True, op_types_to_quantize=["MatMul", "Attention"],
        weight_type=QuantType.QInt8, nodes_to_exclude=heads,
    )  # fmt: skip
    between.unlink()
    before, after = attention_count(graph), attention_count(onnx.load(str(target)))
    if before != after:
        raise TrainerError(f"quantising kept {after} of {before} attention nodes")
