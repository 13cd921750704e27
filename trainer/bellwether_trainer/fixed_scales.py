"""Fixed activation scales in a dynamically quantised graph.

A dynamic graph scales each activation by the extremes of the whole batch, so what stands beside a text changes its
answer, and one outlier coarsens all. Here each scale is measured once, on texts of the training cut, and stored: the
same text then gets the same answer in any company, and nobody searches for extremes at run time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

import onnx
from onnx import helper, numpy_helper

DYNAMIC = "DynamicQuantizeLinear"
LEVELS = 255
SAMPLED_VALUES = 30_000
"""Values of one activation that its scale is chosen on."""


@dataclass(frozen=True)
class Scale:
    """How an activation becomes 8 bits: `round(value / scale) + zero_point`, cut to 0..255."""

    scale: float
    zero_point: int


def fix(dynamic: Path, target: Path, feeds: Sequence[dict[str, np.ndarray]]) -> None:
    """Writes the graph with the scales measured on `feeds`, inputs of the graph, which are few and typical."""
    graph = onnx.load(str(dynamic))
    nodes = {node.output[0]: node for node in graph.graph.node if node.op_type == DYNAMIC}
    samples = _samples(graph, [node.input[0] for node in nodes.values()], feeds)
    scales = {node.input[0]: choose(samples[node.input[0]]) for node in nodes.values()}
    _replace(graph, nodes.values(), scales)
    _merge_products(graph)
    onnx.save(graph, str(target))


def choose(values: np.ndarray) -> Scale:
    """The range of least squared error among shrunken ones: cutting a few outliers buys all others precision."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    best, least = Scale(1.0, 0), np.inf
    for lower in np.linspace(0.2, 1.0, 9) if low < 0.0 else (1.0,):
        for upper in np.linspace(0.2, 1.0, 9):
            found = _scale(low * lower, high * upper)
            whole = np.clip(np.rint(values / found.scale) + found.zero_point, 0, LEVELS)
            error = float(np.square((whole - found.zero_point) * found.scale - values).mean())
            if error < least:
                best, least = found, error
    return best


def _scale(low: float, high: float) -> Scale:
    scale = max(high - low, 1e-6) / LEVELS
    return Scale(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))


def _samples(
    graph: onnx.ModelProto, names: Sequence[str], feeds: Sequence[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Some values of each named activation, drawn evenly over the tokens that are not padding."""
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    known = {output.name for output in probe.graph.output}
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    chance = np.random.default_rng(1)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    each = SAMPLED_VALUES // len(feeds)
    for feed in feeds:
        real = feed["attention_mask"].astype(bool)
        for name, value in zip(names, session.run(list(names), feed), strict=True):
            mine = value[real].reshape(-1) if value.shape[:2] == real.shape else value.reshape(-1)
            extremes = np.array([mine.min(), mine.max()], dtype=np.float32)
            drawn[name].append(np.concatenate([chance.choice(mine, min(each, len(mine)), replace=False), extremes]))
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def _replace(graph: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], scales: dict[str, Scale]) -> None:
    """Each dynamic node becomes a QuantizeLinear with constants, which later nodes find under the old names."""
    for node in list(nodes):
        quantised, scale_name, zero_name = node.output
        scale = scales[node.input[0]]
        graph.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(scale.scale, dtype=np.float32), scale_name),
                numpy_helper.from_array(np.array(scale.zero_point, dtype=np.uint8), zero_name),
            ]
        )
        fixed = helper.make_node("QuantizeLinear", [node.input[0], scale_name, zero_name], [quantised], node.name)
        place = list(graph.graph.node).index(node)
        graph.graph.node.remove(node)
        graph.graph.node.insert(place, fixed)


def _merge_products(graph: onnx.ModelProto) -> None:
    """MatMulInteger, Cast and the Mul by both scales become one node that answers in fp32.

    The runtime would merge them itself, but only as long as the product of the scales is not a constant.
    """
    made = {output: node for node in graph.graph.node for output in node.output}
    used: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            used.setdefault(name, []).append(node)
    for product in [node for node in graph.graph.node if node.op_type == "MatMulInteger"]:
        (cast,) = used[product.output[0]]
        (scaled,) = used[cast.output[0]]
        factors = made[next(name for name in scaled.input if name != cast.output[0])]
        left, right, left_zero, right_zero = product.input
        left_scale, right_scale = factors.input
        merged = helper.make_node(
            "MatMulIntegerToFloat",
            [left, right, left_scale, right_scale, left_zero, right_zero],
            list(scaled.output),
            product.name,
            domain="com.microsoft",
        )
        place = list(graph.graph.node).index(scaled)
        graph.graph.node.insert(place, merged)
        for node in (product, cast, scaled, factors):
            graph.graph.node.remove(node)
