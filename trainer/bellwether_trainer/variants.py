"""Another variant of a finished version: the same weights in fp32 or fp16, for CUDA.

Only int8 for the processor is shipped. The weights come from `checkpoint.pt` where a refresh left one, else out of the
int8 graph. Golden inputs are answered by the fp32 graph on the processor, with weights that were halved before for
fp16: a CUDA session must give the same answers within the tolerance that every load is held to.
"""

import copy
from pathlib import Path

from onnxruntime.transformers.onnx_model import OnnxModel

import onnx

from . import bundle, champion, manifest, whole
from .errors import UsageError
from .export import OPSET, attention_count, export

PRECISIONS = ("fp32", "fp16")


def add(directory: Path, precision: str) -> Path:
    """Writes the graph, lists it in the manifest, and returns its path. A variant that is there already stays.

    Raises DataError for a directory that does not hold; UsageError for a variant that it has.
    """
    held = champion.load(directory)
    written = copy.deepcopy(held.written)
    if any(variant["precision"] == precision for variant in written["variants"]):
        raise UsageError(f"{directory} has a variant in {precision} already")
    model = held.model
    if precision == "fp16":
        model = model.half().float()
    aside, graph = directory / ".making.fp32.onnx", directory / f"model.{precision}.onnx"
    try:
        export(model, aside)
        texts = [entry["text"] for entry in written["variants"][0]["golden"]]
        manifest.parity(model, aside, held.tokenizer, texts, held.max_tokens)
        scorer = bundle.Scorer(aside, held.tokenizer, held.max_tokens)
        heats = {name: values["temperature"] for name, values in held.calibration.items()}
        golden = bundle.golden(scorer, texts, held.tasks, heats)
        if precision == "fp16":
            _halve(aside)
        whole.put(aside, graph)
    finally:
        aside.unlink(missing_ok=True)
    variant = {
        "precision": precision,
        "file": graph.name,
        "devices": ["cuda"],
        "sha256": bundle.sha256(graph),
        "opset": OPSET,
        "golden": golden,
    }
    written["variants"].append(variant)
    bundle.write_json(directory / "manifest.json", written)
    return graph


def _halve(path: Path) -> None:
    """Weights and sums in fp16, inputs and outputs as they were. Raises if a fused attention node got lost."""
    graph = OnnxModel(onnx.load(str(path)))
    before = attention_count(graph.model)
    graph.convert_float_to_float16(keep_io_types=True)
    if attention_count(graph.model) != before:
        raise UsageError("halving lost a fused attention node")
    graph.save_model_to_file(str(path))
