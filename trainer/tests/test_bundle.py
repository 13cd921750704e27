"""Promise: one run gives a whole model directory, which is checked, holds what it says, and is its own checkpoint."""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bellwether_trainer import (
    bundle,
    champion,
    data,
    golden_texts,
    manifest,
    network,
    packing,
    parameters,
    teach,
    tiny,
    train,
)
from bellwether_trainer.__main__ import main
from bellwether_trainer.errors import DataError, TrainerError, UsageError
from bellwether_trainer.export import attention_count, export
from bellwether_trainer.log import Log
from bellwether_trainer.negations import PAIRS
from bellwether_trainer.tasks import TASKS
from transformers import BertConfig

import onnx

MODELS = Path(__file__).parent.parent.parent / "models"
RECIPE = train.Recipe(
    epochs=12,
    batch=16,
    max_tokens=32,
    learning_rate=3e-3,
    head_learning_rate=1e-2,
    validation_share=0.3,
    varied_share=0.0,
    hidden_words=0.0,
)


@pytest.fixture(scope="session")
def shipped_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle, made anew."""
    folder = tmp_path_factory.mktemp("tiny") / "1"
    assert main(["tiny", "--out", str(folder)]) == 0
    return folder


def test_a_small_run_goes_all_the_way(sets: Path, tmp_path: Path) -> None:
    split = data.load(sets, RECIPE.validation_share)
    tokenizer = tiny.tokenizer()
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, initializer_range=0.1,
    )  # fmt: skip
    config._attn_implementation = "eager"
    model = network.Classifier(config)
    log = Log(tmp_path / "log.jsonl")
    best = train.fit(model, tokenizer, split, RECIPE, frozenset(split.rows), tmp_path / "run", log)
    # A word decides the answer, so that even this model learns it; chance is a third.
    assert best["score"] > 0.8
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("epoch") == RECIPE.epochs
    assert (tmp_path / "run" / "best.pt").is_file()

    out = tmp_path / "models" / "small" / "1"
    identity = manifest.Identity("small", "1")
    typical = [example.text for example in split.train]
    written = manifest.finish(
        model, tokenizer, split.validation, tiny.TEXTS, identity, {}, RECIPE.max_tokens, out, typical
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.int8.onnx",
        "tokenizer.json",
    ]
    assert attention_count(onnx.load(out / "model.int8.onnx")) == 2
    assert written == manifest.read(out)
    manifest.verify(out)
    for task in written["tasks"]:
        assert written["metrics"]["validation"][task["name"]]["accuracy"] > 0.5
        assert task["temperature"] > 0 and 0 <= task["abstain_below"] < 1

    # Its scales are fixed: an answer is the same in any company, but for the rounding of sums.
    scorer = bundle.scorer(out)
    alone, together = scorer.logits(typical[:1], TASKS), scorer.logits([*typical[:9], "oil " * 25], TASKS)
    for task in TASKS:
        np.testing.assert_allclose(alone[task.name][0], together[task.name][0], atol=1e-3)

    # Quantised weights go back into the trainable model, which answers nearly the same.
    again = network.Classifier(config)
    again.load_state_dict(parameters.restore(out / "model.int8.onnx", written["parameters"]), strict=True)
    texts = [*tiny.TEXTS, *(example.text for example in split.validation)]
    assert_same_answers(again.eval(), bundle.Scorer(out / "model.int8.onnx", tokenizer, 32), tokenizer, 32, 0.1, texts)


def test_the_command_trains_the_real_encoder(
    sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["--data", str(sets), "--run-dir", str(tmp_path / "run"), "--out", str(tmp_path / "models")]
    assert (
        main(["train", *run, "--epochs", "1", "--batch", "32", "--max-tokens", "16", "--validation-share", "0.3"]) == 0
    )
    home = tmp_path / "models" / "finance-en"
    assert (home / "champion").read_text() == "1\n"
    assert attention_count(onnx.load(home / "1" / "model.int8.onnx")) == 6
    assert main(["verify", str(home / "1")]) == 0
    assert main(["finish", *run, "--version", "2"]) == 0
    first, second = (manifest.read(home / version) for version in ("1", "2"))
    assert first["variants"] == second["variants"]
    told = [json.loads(line) for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    held_out = data.load(sets, 0.3).validation
    assert [row["text"] for row in told] == [example.text for example in held_out]
    labels = {task.name: task.labels for task in TASKS}
    assert [labels[one.task].index(row[one.task]) for row, one in zip(told, held_out, strict=True)] == [
        example.label for example in held_out
    ]
    # Who answers is named by people and by the gate: only where nobody did is the first version named.
    assert (home / "champion").read_text() == "1\n"
    assert f"bellwether model promote 2 --model {home} --force --reason TEXT" in capfd.readouterr().out

    again = ["--data", str(sets), "--run-dir", str(tmp_path / "again"), "--out", str(tmp_path / "models")]
    short = ["--epochs", "1", "--batch", "32", "--max-tokens", "16", "--validation-share", "0.3", "--version", "3"]
    assert main(["train", *again, *short, "--start", str(tmp_path / "run" / "best.pt")]) == 0
    assert len(manifest.read(home / "3")["training"]["continued_from"]) == 1

    # On all rows nothing is left to calibrate on: another version's calibration is taken over, or nothing is trained.
    everything = ["--data", str(sets), "--run-dir", str(tmp_path / "all"), "--out", str(tmp_path / "models")]
    everything += [*short[:-3], "0", "--version", "4", "--start", str(tmp_path / "run" / "best.pt")]
    assert main(["train", *everything]) == 64
    assert "with --calibration" in capfd.readouterr().err and not (tmp_path / "all").exists()
    assert main(["methods", *everything[:4], "--validation-share", "0"]) == 64
    assert "chosen by that cut" in capfd.readouterr().err
    assert main(["train", *everything, "--epochs", "2", "--calibration", str(home / "1")]) == 0
    fourth = manifest.read(home / "4")
    assert manifest.calibration_of(fourth) == manifest.calibration_of(first)
    assert fourth["metrics"]["validation"] == {} and fourth["training"]["calibration_of"] == "finance-en 1"
    events = [json.loads(line) for line in (tmp_path / "all" / "log.jsonl").read_text().splitlines()]
    rows = sum(entry["rows"] for entry in fourth["training"]["data"])
    assert [(event["labelled"], event["validation"]) for event in events if event["event"] == "start"] == [(rows, 0)]
    assert fourth["training"]["recipe"]["best_epoch"] == 2, "nothing to choose by: the last one"
    assert main(["compare", *everything[:4], "--model", str(home / "4")]) == 64
    assert main(["robust", *everything[:4], "--validation-share", "0", "--model", str(home / "4")]) == 64
    assert capfd.readouterr().err.count("there is no validation cut to measure on") == 2

    # A version that is there stays as it is, and nothing is trained that would have no place.
    monkeypatch.setattr(train, "fit", None)
    stamp = (home / "2" / "manifest.json").stat().st_mtime_ns
    for asked in (["finish", *run], ["train", *again, "--epochs", "2"]):
        assert main([*asked, "--version", "2"]) == 64
        assert f"{home / '2'}: is there already; name another --version" in capfd.readouterr().err
    assert (home / "2" / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match="is there already"):
        tiny.build(home / "2")


def assert_same_answers(
    model: network.Classifier, scorer: bundle.Scorer, tokenizer, max_tokens: int, within: float, texts: list[str]
) -> None:
    """The answers of a torch model and of a graph: nearly always the same label, and probabilities of each text that
    lie close together, on average far closer than at worst."""
    expected, found = teach.ask(model, tokenizer, texts, max_tokens), scorer.logits(texts, TASKS)
    for task in TASKS:
        wanted, answers = expected[task.name].numpy(), bundle.softmax(found[task.name], 1.0)
        gaps = np.abs(wanted - answers).max(axis=1)
        same = np.mean(wanted.argmax(axis=1) == answers.argmax(axis=1))
        assert gaps.max() < within, (task.name, texts[gaps.argmax()], gaps.max())
        assert same >= 0.95 and gaps.mean() < 0.02, (task.name, same, gaps.mean())


def test_the_mean_of_checkpoints_tells_what_it_was_made_of() -> None:
    made = [
        {"model": {"w": torch.tensor([value])}, "recipe": {"seed": seed}, "report": {"epoch": 2}, "history": []}
        for value, seed in ((1.0, 7), (4.0, 8))
    ]
    mean = train.average(made)
    assert mean["model"]["w"].item() == 2.5 and mean["recipe"] == {"seed": 8}
    assert mean["averaged"] == [{"seed": 7, "epoch": 2}, {"seed": 8, "epoch": 2}]


def test_batches_lose_no_row_and_are_alike_in_length() -> None:
    rows = [train.Row([1] * (1 + index % 40), data.Example("", "topic", 0, 1.0, "x")) for index in range(1000)]
    cut = list(packing.batches(rows, 32, random.Random(1), lambda row: len(row.ids)))
    assert sorted(len(row.ids) for batch in cut for row in batch) == sorted(len(row.ids) for row in rows)
    padded = sum(len(batch) * max(len(row.ids) for row in batch) for batch in cut)
    assert padded < 1.1 * sum(len(row.ids) for row in rows)


def test_padding_does_not_change_an_answer(shipped_tiny: Path) -> None:
    scorer = bundle.Scorer(shipped_tiny / "model.fp32.onnx", tiny.tokenizer(), 64)
    alone = scorer.logits([tiny.TEXTS[0]], TASKS)
    together = scorer.logits([*tiny.TEXTS, "oil " * 200], TASKS)
    for task in TASKS:
        np.testing.assert_allclose(alone[task.name][0], together[task.name][0], atol=1e-4)


def test_a_graph_without_fused_attention_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with pytest.raises(TrainerError, match="0 of 1 attention layers were fused"):
        export(network.Classifier(config), tmp_path / "model.onnx")


def test_the_tiny_bundle_comes_out_as_it_is_shipped(shipped_tiny: Path) -> None:
    assert sum(path.stat().st_size for path in (MODELS / "tiny" / "1").iterdir()) < 100_000
    shipped, made = (manifest.read(folder) for folder in (MODELS / "tiny" / "1", shipped_tiny))
    for key in ("tasks", "files", "parameters"):
        assert shipped[key] == made[key]
    for old, new in zip(shipped["variants"][0]["golden"], made["variants"][0]["golden"], strict=True):
        assert old["text"] == new["text"]
        for task, answer in old["outputs"].items():
            assert new["outputs"][task]["label"] == answer["label"]
            assert new["outputs"][task]["probability"] == pytest.approx(answer["probability"], abs=1e-3)


@pytest.mark.parametrize("name", ["tiny", "finance-en"])
def test_a_shipped_model_holds_what_its_manifest_says(name: str) -> None:
    version = (MODELS / name / "champion").read_text().strip()
    manifest.verify(MODELS / name / version)


def test_the_shipped_model_is_its_own_checkpoint() -> None:
    home = MODELS / "finance-en" / (MODELS / "finance-en" / "champion").read_text().strip()
    written = manifest.read(home)
    shape = json.loads((home / "config.json").read_text())
    labels = {task.name: {str(index): label for index, label in enumerate(task.labels)} for task in TASKS}
    assert shape["id2label"] == labels
    assert attention_count(onnx.load(home / "model.int8.onnx")) == 6
    again = champion.load(home)
    kept = (MODELS / "finance-en" / "regression.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [*tiny.TEXTS, *golden_texts.TEXTS, *(text for _, text, _ in PAIRS[:12])]
    texts += [json.loads(line)["text"] for line in kept]
    assert_same_answers(again.model, bundle.scorer(home), again.tokenizer, written["max_tokens"], 0.2, texts)


def test_a_version_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, Path]] = []
    rename = Path.replace

    def replace(aside: Path, place: Path) -> Path:
        told.append(("named", place))
        return rename(aside, place)

    monkeypatch.setattr(os, "fsync", lambda opened: told.append(("synced", Path(f"/proc/self/fd/{opened}").readlink())))
    monkeypatch.setattr(Path, "replace", replace)
    out = tmp_path / "tiny" / "1"
    tiny.build(out)
    named, aside = told.index(("named", out)), out.with_name(".making-1")
    written = {aside / path.name for path in out.iterdir()}
    assert aside / "manifest.json" in written and len(written) == 4
    assert {path for what, path in told[named - 5 : named] if what == "synced"} == {aside, *written}
    assert told[named + 1 :] == [("synced", out.parent)]


def test_an_altered_file_or_answer_is_found(shipped_tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(shipped_tiny, folder)
    with (folder / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(DataError, match=r"config\.json: missing or altered"):
        manifest.verify(folder)
    shutil.copy(shipped_tiny / "config.json", folder)
    written = manifest.read(folder)
    written["variants"][0]["golden"][0]["outputs"]["topic"]["probability"] -= 0.05
    bundle.write_json(folder / "manifest.json", written)
    with pytest.raises(TrainerError, match="golden input"):
        manifest.verify(folder)
    (folder / "manifest.json").write_text(json.dumps(written | {"format": 2}))
    assert main(["verify", str(folder)]) == 65
