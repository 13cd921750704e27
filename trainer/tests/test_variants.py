"""Promise: a version gets a graph for CUDA out of what ships, with the same answers, and stays a version that loads."""

import json
from pathlib import Path

import numpy as np
import pytest
from bellwether_trainer import bundle, champion, manifest, variants
from bellwether_trainer.__main__ import main

import onnx


def test_a_variant_for_cuda_is_made_of_the_shipped_weights(version: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = manifest.read(version)
    for precision in variants.PRECISIONS:
        assert main(["variant", str(version), "--precision", precision]) == 0
        assert f"model.{precision}.onnx" in capfd.readouterr().out
    written = manifest.read(version)
    assert [variant["precision"] for variant in written["variants"]] == ["int8", "fp32", "fp16"]
    assert written["variants"][0] == before["variants"][0] and written["variants"][1]["devices"] == ["cuda"]
    manifest.verify(version)
    full, half = (onnx.load(str(version / f"model.{precision}.onnx")) for precision in variants.PRECISIONS)
    kinds = {
        item.data_type for item in half.graph.initializer if item.name.startswith("encoder") or "MatMul" in item.name
    }
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert (version / "model.fp16.onnx").stat().st_size < 0.6 * (version / "model.fp32.onnx").stat().st_size
    for graph in (full, half):
        assert {value.type.tensor_type.elem_type for value in graph.graph.output} == {onnx.TensorProto.FLOAT}
    # The fp32 graph answers as the trainable model does.
    held, texts = champion.load(version), [entry["text"] for entry in written["variants"][0]["golden"]]
    scorer = bundle.Scorer(version / "model.fp32.onnx", held.tokenizer, held.max_tokens)
    asked = held.ask(texts)
    for task in held.tasks:
        found = scorer.logits(texts, [task])[task.name].argmax(axis=1)
        assert np.array_equal(found, asked[task.name].numpy().argmax(axis=1))
    assert main(["variant", str(version), "--precision", "fp16"]) == 64
    assert "has a variant in fp16 already" in capfd.readouterr().err


def test_a_graph_that_answers_otherwise_than_the_model_is_not_written(version: Path, tmp_path: Path) -> None:
    held = champion.load(version)
    graph = tmp_path / "model.onnx"
    variants.export(held.model, graph)
    texts = [entry["text"] for entry in held.written["variants"][0]["golden"]]
    manifest.parity(held.model, graph, held.tokenizer, texts, held.max_tokens)
    held.model.heads["sentiment"].bias.data[0] += 1.0
    with pytest.raises(manifest.TrainerError, match="answers otherwise"):
        manifest.parity(held.model, graph, held.tokenizer, texts, held.max_tokens)
    assert json.loads((version / "manifest.json").read_text())["name"] == "small"
