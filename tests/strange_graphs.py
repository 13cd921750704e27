"""Graphs that nobody should run, each made of a good one: strange_graphs.py GRAPH OUT."""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper, helper

good, out = Path(sys.argv[1]), Path(sys.argv[2])


def save(kind: str, change) -> None:
    graph = onnx.load(str(good))
    change(graph)
    (out / f"{kind}.onnx").write_bytes(graph.SerializeToString())


def circle(model: onnx.ModelProto) -> None:
    """The first node waits for the last one's output."""
    last = model.graph.node[-1].output[0]
    model.graph.node.insert(0, helper.make_node("Add", [last, last], ["turned"]))
    node = next(node for node in model.graph.node[1:] if node.input)
    node.input[0] = "turned"


def future(model: onnx.ModelProto) -> None:
    """Operators that nobody has written yet."""
    model.opset_import[0].version = 999


def foreign(model: onnx.ModelProto) -> None:
    """An operator of somebody's own."""
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    output = model.graph.output[0].name
    node = next(node for node in model.graph.node if output in node.output)
    node.output[list(node.output).index(output)] = "before"
    model.graph.node.append(helper.make_node("Run", ["before"], [output], domain="evil.example"))


def outside(model: onnx.ModelProto) -> None:
    """Weights in a file of the system."""
    weights = next(it for it in model.graph.initializer if it.data_type == TensorProto.FLOAT)
    external_data_helper.set_external_data(weights, location="../../../../../etc/passwd")
    weights.data_location = TensorProto.EXTERNAL
    weights.ClearField("raw_data")


def endless(model: onnx.ModelProto) -> None:
    """A loop that goes on until a condition fails that always holds."""
    holds = helper.make_node("Constant", [], ["holds"], value=helper.make_tensor("", TensorProto.BOOL, [], [True]))
    again = helper.make_node("Identity", ["on"], ["still"])
    number = helper.make_tensor_value_info("number", TensorProto.INT64, [])
    on, still = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("on", "still"))
    output = model.graph.output[0]
    node = next(node for node in model.graph.node if output.name in node.output)
    node.output[list(node.output).index(output.name)] = "before"
    held, kept = onnx.ValueInfoProto(), onnx.ValueInfoProto()
    for value, name in ((held, "held"), (kept, "kept")):
        value.CopyFrom(output)
        value.name = name
    turn = helper.make_node("Identity", ["held"], ["kept"])
    body = helper.make_graph([again, turn], "body", [number, on, held], [still, kept])
    loop = helper.make_node("Loop", ["", "holds", "before"], [output.name], body=body)
    model.graph.node.extend([holds, loop])


for change in (circle, future, foreign, outside, endless):
    save(change.__name__, change)
