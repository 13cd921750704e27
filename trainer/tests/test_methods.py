"""Promise: each method learns, what can be added up ships like a full fine-tune, and the rest is refused beforehand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bellwether_trainer import ablation, bundle, data, loop, methods, network, tiny, train
from bellwether_trainer.__main__ import main
from bellwether_trainer.errors import TrainerError, UsageError
from bellwether_trainer.export import attention_count, export
from bellwether_trainer.log import Log
from bellwether_trainer.tasks import TASKS
from torch import nn
from transformers import BertConfig

import onnx

RECIPE = train.Recipe(
    epochs=7,
    batch=16,
    max_tokens=24,
    prefix_tokens=4,
    rank=4,
    adapter_width=16,
    learning_rate=3e-3,
    method_learning_rate=1e-2,
    head_learning_rate=3e-2,
    validation_share=0.3,
    varied_share=0.0,
    hidden_words=0.0,
    dropout=0.0,
)
DECIDES = frozenset({"twitter_financial_news_topic"})
LEARNS = {"prefix": ".prompt_encoder.", "adapter": ".dense."}
SHORT = ["--epochs", "1", "--batch", "32", "--max-tokens", "16", "--validation-share", "0.3", "--prefix-tokens", "4"]


def small(tasks=TASKS) -> tuple[network.Classifier, object]:
    """Two random layers, always the same, with the tiny model's tokeniser."""
    torch.manual_seed(1)
    tokenizer = tiny.tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, initializer_range=0.1,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return network.Classifier(config, tasks).eval(), tokenizer


def choice(name: str) -> methods.Choice:
    return methods.Choice(name, rank=4, prefix_tokens=4, adapter_width=16)


def answers(model: network.Classifier) -> torch.Tensor:
    """Logits of both tasks side by side."""
    inputs = network.pad(network.encode(tiny.tokenizer(), tiny.TEXTS, 24))
    with torch.no_grad():
        return torch.cat(model.eval()(**inputs), dim=1)


def stir(model: network.Classifier) -> None:
    """As if all that learns had learned something."""
    for parameter in model.encoder.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)


@pytest.fixture
def small_encoder(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The commands get the small model in place of the real encoder; the list counts how often."""
    calls: list[int] = []

    def pretrained(tasks=TASKS) -> tuple[network.Classifier, object]:
        calls.append(1)
        return small(tasks)

    monkeypatch.setattr(network, "pretrained", pretrained)
    return calls


def events(run: Path, name: str) -> list[dict]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


@pytest.mark.parametrize("name", ["lora", "adalora"])
def test_a_low_rank_method_is_added_up_and_ships_like_a_full_fine_tune(name: str, sets: Path, tmp_path: Path) -> None:
    model, tokenizer = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    split = data.load(sets, RECIPE.validation_share)
    recipe = replace(RECIPE, method=name)
    best = train.fit(model, tokenizer, split, recipe, DECIDES, tmp_path, Log(tmp_path / "log.jsonl"))
    # Chance is a third.
    assert best["score"] > 0.5
    assert 0.0 < events(tmp_path, "start")[0]["trainable_share"] < 0.5

    kept = torch.load(tmp_path / "best.pt", weights_only=True)["model"]
    assert kept.keys() == before.keys() == model.state_dict().keys()
    # What was frozen stayed; what was added to has moved.
    table, query = "encoder.embeddings.word_embeddings.weight", "encoder.encoder.layer.1.attention.self.query.weight"
    assert torch.equal(kept[table], before[table]) and not torch.allclose(kept[query], before[query], atol=1e-3)
    again = train.validate(model, train.tokenise(tokenizer, split.validation, recipe.max_tokens), DECIDES)
    assert again["score"] == pytest.approx(best["score"], abs=0.02)

    export(model, tmp_path / "model.onnx")
    assert attention_count(onnx.load(tmp_path / "model.onnx")) == 2
    found = bundle.Scorer(tmp_path / "model.onnx", tokenizer, 24).logits(tiny.TEXTS, TASKS)
    expected = answers(model).numpy()
    np.testing.assert_allclose(np.concatenate([found[task.name] for task in TASKS], axis=1), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["lora", "adalora"])
def test_the_sum_answers_as_its_parts_did(name: str) -> None:
    model, _ = small()
    method = methods.install(model, choice(name), 20, 24)
    start = answers(model)
    stir(model)
    expected = answers(model)
    assert not torch.allclose(start, expected, atol=0.1)
    plain, _ = small()
    plain.load_state_dict(method.state(), strict=True)
    torch.testing.assert_close(answers(plain), expected, atol=1e-4, rtol=1e-4)


def test_adalora_ends_with_the_rank_that_was_asked_for_and_wants_orthogonal_matrices() -> None:
    model, tokenizer = small()
    method = methods.install(model, choice("adalora"), 20, 24)
    learning = {key: value for key, value in model.encoder.named_parameters() if value.requires_grad}
    values = [value for key, value in learning.items() if "lora_E" in key]
    inputs = network.pad(network.encode(tokenizer, tiny.TEXTS, 24))
    stir(model)
    for step in range(1, 21):
        sum(logits.square().sum() for logits in model(**inputs)).backward()
        method.after_step(step)
        model.zero_grad()
        # Six linear layers in each of two layers: rank 6 in the beginning, 4 on average in the end.
        left = sum(int(value.count_nonzero()) for value in values)
        assert left == 72 if step <= 2 else 48 <= left < 72
    assert left == 48
    assert method.penalty().item() > 0.1
    for key, value in learning.items():
        if "lora_A" in key or "lora_B" in key:
            nn.init.orthogonal_(value)
    assert method.penalty().item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", ["prefix", "adapter"])
def test_what_cannot_be_added_up_learns_and_its_checkpoint_is_its_own(name: str, sets: Path, tmp_path: Path) -> None:
    model, tokenizer = small()
    split = data.load(sets, RECIPE.validation_share)
    recipe = replace(RECIPE, method=name)
    best = train.fit(model, tokenizer, split, recipe, DECIDES, tmp_path, Log(tmp_path / "log.jsonl"))
    assert best["score"] > 0.5
    kept = torch.load(tmp_path / "best.pt", weights_only=True)["model"]
    again, _ = small()
    method = methods.install(again, choice(name), 20, 24)
    fresh = again.state_dict()
    moved = {key for key in kept if not torch.equal(kept[key], fresh[key])}
    assert any(LEARNS[name] in key for key in moved)
    assert all(LEARNS[name] in key or key.startswith("heads.") for key in moved)
    method.restore(kept)
    torch.testing.assert_close(answers(again), answers(model))


def test_adapters_start_as_if_not_there_and_only_they_and_the_heads_learn() -> None:
    model, _ = small()
    before = answers(model)
    method = methods.install(model, choice("adapter"), 20, 24)
    torch.testing.assert_close(answers(model), before)
    learning = {key for key, value in model.named_parameters() if value.requires_grad}
    assert all(".down." in key or ".up." in key or key.startswith("heads.") for key in learning)
    # Two adapters in each of two layers, 32 wide, 16 narrow, and heads for 3 and 20 labels.
    count = 2 * 2 * (2 * 32 * 16 + 16 + 32) + 33 * 23
    assert method.trainable_share() == pytest.approx(count / sum(one.numel() for one in model.parameters()))


@pytest.mark.parametrize("name", sorted(methods.NOT_EXPORTED))
def test_the_reason_for_the_refusal_holds(name: str, tmp_path: Path) -> None:
    model, _ = small()
    methods.install(model, choice(name), 20, 24)
    stir(model)
    with pytest.raises(TrainerError, match="0 of 2 attention layers were fused"):
        export(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", sorted(methods.NOT_EXPORTED))
def test_a_method_without_a_model_directory_is_refused_before_it_trains(
    name: str, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture, small_encoder: list[int]
) -> None:
    run = ["--data", str(sets), "--run-dir", str(tmp_path / "run")]
    out = ["--out", str(tmp_path / "models")]
    assert main(["train", *run, *SHORT, "--method", name, *out]) == 64
    assert f"method {name} cannot be exported" in capsys.readouterr().err
    assert not (tmp_path / "run").exists() and not small_encoder
    assert main(["train", *run, *SHORT, "--method", name]) == 0
    assert main(["finish", *run, *out]) == 64
    assert f"best.pt: trained by method {name}" in capsys.readouterr().err


def test_a_bad_method_device_or_size_is_a_bad_command_line(sets: Path, tmp_path: Path) -> None:
    run = ["train", "--data", str(sets), "--run-dir", str(tmp_path / "run")]
    assert main([*run, "--method", "magic"]) == 64
    assert main([*run, "--rank", "0"]) == 64
    assert main([*run, "--device", "tpu"]) == 64
    if not torch.cuda.is_available():
        assert main([*run, "--device", "cuda"]) == 64
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="more than the encoder's 32 positions"):
        methods.install(small()[0], choice("prefix"), 20, 29)
    with pytest.raises(UsageError, match="adalora needs 10 steps"):
        methods.install(small()[0], choice("adalora"), 9, 24)


class KilledError(Exception):
    """Stands for a SIGKILL."""


def test_adalora_that_was_killed_ends_as_it_would_have_ended(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    split = data.load(sets, RECIPE.validation_share)
    recipe = replace(RECIPE, method="adalora", epochs=2)

    def weights(run: Path, die_at: int | None) -> dict[str, torch.Tensor]:
        model, tokenizer = small()
        heard = model.forward
        steps = 0

        def forward(*inputs: object, **named: object) -> object:
            nonlocal steps
            steps += model.training
            if steps == die_at:
                raise KilledError
            return heard(*inputs, **named)

        monkeypatch.setattr(model, "forward", forward)
        train.fit(model, tokenizer, split, recipe, DECIDES, run, Log(None))
        return torch.load(run / "epoch-2.pt", weights_only=True)["model"]

    expected = weights(tmp_path / "whole", None)
    with pytest.raises(KilledError):
        weights(tmp_path / "broken", 12)
    found = weights(tmp_path / "broken", None)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, msg=key)


def test_a_run_that_gets_no_better_stops_and_stays_stopped(sets: Path, tmp_path: Path) -> None:
    split = data.load(sets, RECIPE.validation_share)
    still = replace(RECIPE, learning_rate=0.0, head_learning_rate=0.0, epochs=6, patience=2)
    for _ in range(2):
        model, tokenizer = small()
        train.fit(model, tokenizer, split, still, DECIDES, tmp_path, Log(tmp_path / "log.jsonl"))
    assert [event["epoch"] for event in events(tmp_path, "epoch")] == [1, 2, 3]
    assert [event["best_epoch"] for event in events(tmp_path, "stopped")] == [1]
    assert len(events(tmp_path, "finished already")) == 1
    assert json.loads((tmp_path / "best.json").read_text())["epoch"] == 1


def test_the_methods_stand_in_a_table_that_goes_on(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture, small_encoder: list[int]
) -> None:
    run = ["methods", "--data", str(sets), "--run-dir", str(tmp_path), *SHORT, "--rows-share", "1", "--batch", "12"]
    assert main(run) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert table[0] == "| method | score | seconds | trainable share |"
    shares = {cells[1]: float(cells[4].rstrip("% ")) for cells in (line.split("|") for line in table[2:])}
    assert [name.strip() for name in shares] == list(methods.METHODS)
    assert shares.pop(" full ") == 100.0 and all(0.0 < share < 60.0 for share in shares.values())
    (tmp_path / "lora" / "report.json").unlink()
    trained = len(small_encoder)
    assert main(run) == 0
    assert len(small_encoder) == trained + 1
    assert [variant.name for variant in ablation.by_method(RECIPE)] == list(methods.METHODS)
