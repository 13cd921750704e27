"""Promise: new labels are learnt, old answers stay, bad data is refused, and no half version is ever there."""

import copy
import json
import random
import resource
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bellwether_trainer import (
    bundle,
    champion,
    data,
    dataset,
    loop,
    manifest,
    network,
    refresh,
    teach,
    tiny,
    train,
    variants,
)
from bellwether_trainer.__main__ import main
from bellwether_trainer.errors import DataError, shortage
from bellwether_trainer.log import Log
from bellwether_trainer.tasks import SENTIMENT, TASKS
from conftest import BAD, COMPANIES, GOOD, PLAIN, write, write_sets
from test_tracking import curve
from transformers import BertConfig

RISEN, FALLEN = "fine growth", "user recall"
"""The new kinds of text: the champion has never met these words."""

QUICK = [
    "--epochs",
    "10",
    "--patience",
    "2",
    "--batch",
    "16",
    "--learning-rate",
    "4e-3",
    "--head-learning-rate",
    "8e-3",
]
RECIPE = refresh.Recipe(epochs=10, patience=2, batch=16, learning_rate=4e-3, head_learning_rate=8e-3, varied_share=0.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with `small/1`: two layers that have learnt the generated sets, as int8."""
    folder = tmp_path_factory.mktemp("refresh")
    split = data.load(write_sets(folder / "clean"), 0.3)
    tokenizer = tiny.tokenizer()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, initializer_range=0.1,
    )  # fmt: skip
    config._attn_implementation = "eager"
    model = network.Classifier(config)
    recipe = train.Recipe(
        epochs=10, batch=16, max_tokens=32, learning_rate=6e-3, head_learning_rate=1e-2, varied_share=0.0,
        hidden_words=0.0,
    )  # fmt: skip
    train.fit(model, tokenizer, split, recipe, frozenset(split.rows), folder / "run", Log(None))
    texts = [example.text for example in split.train]
    training = {"data": [], "recipe": {"epochs": 10}}
    identity = manifest.Identity("small", "1")
    out = folder / "models" / "small" / "1"
    manifest.finish(model, tokenizer, split.validation, tiny.TEXTS, identity, training, 32, out, texts)
    return folder / "models"


def texts_of(words: str | tuple[str, ...], count: int, seed: int) -> list[str]:
    """Different headlines of one kind."""
    chance = random.Random(seed)
    kinds = (words,) if isinstance(words, str) else words
    pairs = chance.sample([f"{one} {two}" for one in COMPANIES for two in COMPANIES], count)
    return [f"{pair} {kinds[place % len(kinds)]}" for place, pair in enumerate(pairs)]


def labelled(count: int, seed: int) -> list[dict]:
    """As many rows of each new kind, with a sentiment alone."""
    return [
        {"id": f"{words}-{place}", "text": text, "sentiment": label, "topic": None}
        for words, label in ((RISEN, "positive"), (FALLEN, "negative"))
        for place, text in enumerate(texts_of(words, count, seed))
    ]


def answered(folder: Path, texts: list[str]) -> list[dict]:
    """Rows with what the version in a directory answers, as a pipeline would have kept it."""
    scorer = bundle.scorer(folder)
    heat = {task["name"]: task["temperature"] for task in manifest.read(folder)["tasks"]}
    rows = []
    for text in texts:
        row = {"id": text, "text": text, "model_version": folder.name}
        for task in TASKS:
            found = bundle.softmax(scorer.logits([text], [task])[task.name], heat[task.name])[0]
            row[f"{task.name}_probabilities"] = {
                label: round(float(value), 6) for label, value in zip(task.labels, found, strict=True)
            }
        rows.append(row)
    return rows


OLD = [*texts_of(GOOD, 20, 1), *texts_of(BAD, 20, 2), *texts_of(PLAIN, 20, 3)]
HELD_OUT = [*texts_of(GOOD, 20, 4), *texts_of(BAD, 20, 5), *texts_of(PLAIN, 20, 6)]


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A directory as `bellwether dataset` writes it. The test rows are no JSON: whoever reads them fails."""
    made = tmp_path / "dataset"
    (made / "data").mkdir(parents=True)
    write(made / "data" / "train.jsonl", labelled(30, 7))
    write(made / "data" / "validation.jsonl", labelled(6, 8))
    (made / "data" / "test.jsonl").write_text("not to be read", encoding="utf-8")
    rows = answered(home / "small" / "1", OLD)
    rows[0]["topic_probabilities"] = {}
    write(made / "unlabelled.jsonl", rows)
    (made / "dataset.json").write_text("{}", encoding="utf-8")
    return made


def command(home: Path, folder: Path, run: Path, *more: str) -> list[str]:
    """`refresh` of small 1 to small 2, in a models directory of its own."""
    return [
        "refresh", "--dataset", str(folder), "--champion", str(home / "small" / "1"), "--run-dir", str(run),
        "--out", str(run.parent / "models"), "--name", "small", "--version", "2", *QUICK, *more,
    ]  # fmt: skip


def sentiments(model: network.Classifier, texts: list[str]) -> list[int]:
    """The best labels of a trainable model."""
    asked = teach.ask(model, tiny.tokenizer(), texts, 32)
    return asked["sentiment"].argmax(dim=1).tolist()


def share(found: list[int], wanted: list[int]) -> float:
    return sum(one == other for one, other in zip(found, wanted, strict=True)) / len(wanted)


def test_new_labels_become_a_candidate(
    home: Path, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = command(home, folder, tmp_path / "run", "--json")
    assert main(asked) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    names = [event["event"] for event in events]
    assert names[:2] == ["start", "epoch"] and names[-2:] == ["write", "done"]
    assert events[0]["labelled"] == 60 and events[0]["unlabelled"] == 60 and events[0]["validation"] == 12
    losses = {event["epoch"]: event["loss"] for event in events if event["event"] == "epoch"}
    assert len(losses) > 1 and curve(tmp_path / "run", "epoch/loss") == pytest.approx(losses)
    out = tmp_path / "models" / "small" / "2"
    assert events[-1]["directory"] == str(out) and set(events[-1]["seconds"]) == {"read", "answers", "train", "write"}
    assert {path.name for path in out.parent.iterdir()} == {"2"}

    manifest.verify(out)
    before, written = manifest.read(home / "small" / "1"), manifest.read(out)
    told = written["training"]
    assert written["parent"] == "1" and set(written["files"]) == {"config.json", "tokenizer.json"}
    assert told["dataset"]["classes"] == {"sentiment": {"negative": 30, "positive": 30}}
    assert told["dataset"]["sha256"] == bundle.sha256(folder / "dataset.json")
    assert told["continued_from"] == [before["training"]["recipe"]]
    # Twelve validation rows are too few to calibrate on.
    assert told["calibration_kept"] == ["sentiment", "topic"]
    for old, new in zip(before["tasks"], written["tasks"], strict=True):
        assert old == new

    # The graph that ships has learnt the new kinds, and answers the old ones as before.
    old, new = bundle.scorer(home / "small" / "1"), bundle.scorer(out)
    wanted = [SENTIMENT.index(row["sentiment"]) for row in labelled(20, 9)]
    kinds = [row["text"] for row in labelled(20, 9)]
    assert share(best(old, kinds), wanted) < 0.6 < 0.85 <= share(best(new, kinds), wanted)
    assert share(best(new, HELD_OUT), best(old, HELD_OUT)) >= 0.9

    # Its checkpoint holds the weights before quantising, and the next refresh starts there.
    kept = torch.load(out / "checkpoint.pt", weights_only=True)["model"]
    again = champion.load(out)
    assert all(torch.equal(value, kept[name]) for name, value in again.model.state_dict().items())
    with (out / "checkpoint.pt").open("ab") as file:
        file.write(b" ")
    with pytest.raises(DataError, match=r"checkpoint\.pt: altered"):
        champion.load(out)

    # Started again it says so again; another order finds the version taken.
    stamp = (out / "manifest.json").stat().st_mtime_ns
    assert main(asked) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["directory"] == str(out)
    assert (out / "manifest.json").stat().st_mtime_ns == stamp
    assert main([*asked, "--seed", "8"]) == 64


def test_a_champion_for_two_devices_gets_a_candidate_for_both(home: Path, folder: Path, tmp_path: Path) -> None:
    version = tmp_path / "models" / "small" / "1"
    shutil.copytree(home / "small" / "1", version)
    variants.add(version, "fp16")
    asked = command(tmp_path / "models", folder, tmp_path / "run", "--epochs", "1")
    assert main(asked) == 0
    out = version.with_name("2")
    manifest.verify(out)
    before, after = manifest.read(version)["variants"], manifest.read(out)["variants"]
    assert [(one["precision"], one["devices"]) for one in after] == [("int8", ["cpu"]), ("fp16", ["cuda"])]
    assert (out / "model.fp16.onnx").is_file() and after[1]["sha256"] != before[1]["sha256"]
    assert [golden["text"] for golden in after[1]["golden"]] == [golden["text"] for golden in before[1]["golden"]]


@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_what_few_parameters_learn_beside_the_champion_is_added_up_and_ships(
    home: Path, folder: Path, tmp_path: Path, method: str
) -> None:
    how = ["--method", method, "--rank", "4", "--method-learning-rate", "3e-2", "--epochs", "12", "--patience", "12"]
    assert main(command(home, folder, tmp_path / "run", *how)) == 0
    out = tmp_path / "models" / "small" / "2"
    manifest.verify(out)
    told = manifest.read(out)["training"]["recipe"]
    assert (told["method"], told["rank"]) == (method, 4)
    old, new = bundle.scorer(home / "small" / "1"), bundle.scorer(out)
    wanted = [SENTIMENT.index(row["sentiment"]) for row in labelled(20, 9)]
    kinds = [row["text"] for row in labelled(20, 9)]
    assert share(best(old, kinds), wanted) < 0.6 < 0.8 <= share(best(new, kinds), wanted)
    # The next refresh goes on from plain weights, by whichever method.
    assert set(champion.load(out).model.state_dict()) == set(champion.load(home / "small" / "1").model.state_dict())
    assert main(command(home, folder, tmp_path / "other", "--method", "prefix")) == 64
    assert main(command(home, folder, tmp_path / "other", "--method", "magic")) == 64
    assert not (tmp_path / "other").exists()


def best(scorer: bundle.Scorer, texts: list[str]) -> list[int]:
    """The best sentiment of each text."""
    return scorer.logits(texts, [SENTIMENT])["sentiment"].argmax(axis=1).tolist()


def test_distillation_keeps_old_answers(home: Path, folder: Path, tmp_path: Path) -> None:
    before = champion.load(home / "small" / "1")
    expected = sentiments(before.model, HELD_OUT)
    rows = dataset.read(folder, TASKS, "1", 4000)

    def kept(replay: float, seed: int) -> float:
        recipe = refresh.Recipe(**vars(RECIPE) | {"replay": replay, "champion_share": 0.0, "seed": seed})
        mine = champion.Champion(copy.deepcopy(before.model), before.tokenizer, before.written, before.grids)
        run = tmp_path / f"{replay}-{seed}"
        run.mkdir()
        refresh.learn(mine, *refresh.lessons(before, rows, recipe), rows, recipe, run, Log(None))
        return share(sentiments(mine.model, HELD_OUT), expected)

    # How one run ends depends on the processor's rounding: what three of them keep on average does so less.
    without, distilled = ([kept(replay, seed) for seed in (5, 6, 7)] for replay in (0.0, 2.0))
    assert statistics.mean(distilled) >= 0.9 and min(distilled) > max(without) + 0.1, (without, distilled)


def test_a_row_with_one_label_gets_the_champions_answer_to_the_other_task(home: Path, folder: Path) -> None:
    before = champion.load(home / "small" / "1")
    rows = dataset.read(folder, TASKS, "1", 4000)
    taught, replay = refresh.lessons(before, rows, RECIPE)
    asked = before.ask([taught[0].text])
    torch.testing.assert_close(taught[0].soft[1], asked["topic"][0])
    wanted = RECIPE.champion_share * asked["sentiment"][0]
    wanted[SENTIMENT.index("positive")] += 1.0 - RECIPE.champion_share
    torch.testing.assert_close(taught[0].soft[0], wanted)
    # What the pipeline said counts as it is; where it said nothing, the champion is asked.
    for row, lesson in zip(rows.unlabelled, replay, strict=True):
        assert lesson.text == row.text
        for place, task in enumerate(TASKS):
            said = row.said.get(task.name)
            found = torch.tensor(said) if said else before.ask([row.text])[task.name][0]
            torch.testing.assert_close(lesson.soft[place], found)
    assert sum(len(row.said) for row in rows.unlabelled) == 2 * len(OLD) - 1
    # Its own answers are calibrated as those of the graph are, but for what int8 costs.
    asked, said = before.ask([OLD[1]]), answered(home / "small" / "1", [OLD[1]])[0]
    for place, label in enumerate(SENTIMENT.labels):
        assert asked["sentiment"][0][place].item() == pytest.approx(said["sentiment_probabilities"][label], abs=0.15)


def test_what_another_version_answered_is_never_learnt_from(home: Path, folder: Path) -> None:
    path = folder / "unlabelled.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # Version 2 was taken back: it said of all that it is negative. Of an older one not even the labels are known here.
    bad = {"sentiment_probabilities": {"negative": 1.0}, "topic_probabilities": {"ipo": 1.0}, "model_version": "2"}
    rows[1] |= bad
    rows[2] |= {"sentiment_probabilities": {"bearish-ish": 1.0}, "model_version": "0"}
    del rows[3]["model_version"]
    # The champion's word counts wherever it stands beside another one's on the same text.
    write(path, [*rows, rows[4] | bad, rows[1] | {"text": rows[5]["text"]}])
    before, found = champion.load(home / "small" / "1"), dataset.read(folder, TASKS, "1", 4000)
    said = {row.text: set(row.said) for row in found.unlabelled}
    assert len(said) == len(OLD)
    assert [len(said[OLD[place]]) for place in (0, 1, 2, 3, 4, 5, 6)] == [1, 0, 0, 0, 2, 2, 2]
    _, replay = refresh.lessons(before, found, RECIPE)
    taught = {lesson.text: lesson.soft for lesson in replay}
    for text in OLD[1:4]:
        asked = before.ask([text])
        for place, task in enumerate(TASKS):
            torch.testing.assert_close(taught[text][place], asked[task.name][0])


def test_the_unlabelled_texts_are_chosen_by_their_hash(folder: Path) -> None:
    path = folder / "unlabelled.jsonl"
    some = dataset.read(folder, TASKS, "1", 25).unlabelled
    lines = path.read_text().splitlines()
    copied = json.loads(lines[0]) | {"text": labelled(30, 7)[0]["text"] + " 5%!"}
    path.write_text("\n".join([*reversed(lines), json.dumps(copied)]))
    again = dataset.read(folder, TASKS, "1", 25).unlabelled
    assert some == again and len(some) == 25
    # The near-copy of a labelled text is not there: its old answer would speak against the label.
    assert len(dataset.read(folder, TASKS, "1", 4000).unlabelled) == len(OLD)
    path.unlink()
    assert dataset.read(folder, TASKS, "1", 4000).unlabelled == []


def one_class(folder: Path) -> None:
    rows = [row | {"sentiment": "negative"} for row in labelled(30, 7)]
    write(folder / "data" / "train.jsonl", rows)


def with_topics(count: int) -> list[dict]:
    """The training rows, of which so many have a topic too, always the same one."""
    return [row | {"topic": "macro"} if place < count else row for place, row in enumerate(labelled(30, 7))]


def one_class_each(folder: Path) -> None:
    write(folder / "data" / "train.jsonl", [row | {"sentiment": "negative"} for row in with_topics(3)])


def too_few(folder: Path) -> None:
    write(folder / "data" / "train.jsonl", labelled(4, 7) + [{"text": "no label", "sentiment": None}] * 9)


def unknown_label(folder: Path) -> None:
    rows = labelled(6, 8)
    rows[3]["topic"] = "weather"
    write(folder / "data" / "validation.jsonl", rows)


def unknown_answer(folder: Path) -> None:
    row = {"id": "1", "text": "Calder", "sentiment_probabilities": {"good": 1.0}, "model_version": "1"}
    write(folder / "unlabelled.jsonl", [row])


def test_no_more_labelled_rows_are_held_than_there_is_room_for(folder: Path) -> None:
    whole = dataset.read(folder, TASKS, "1", 10)
    some = dataset.read(folder, TASKS, "1", 10, labelled_max=20)
    assert (len(whole.train), len(some.train), some.validation) == (60, 20, whole.validation)
    assert (whole.left_out, some.left_out) == (0, 40)
    places = [whole.train.index(row) for row in some.train]
    assert places == sorted(places) and places != list(range(20))
    assert dataset.read(folder, TASKS, "1", 10, labelled_max=20).train == some.train


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (one_class, "train.jsonl: all 60 sentiment labels are `negative`; at least two classes are needed"),
        (one_class_each, "all 60 sentiment labels are `negative`, all 3 topic labels are `macro`; at least two"),
        (too_few, "train.jsonl: 8 labelled rows; at least 10 are needed"),
        (unknown_label, "validation.jsonl:4: unknown topic label 'weather'"),
        (unknown_answer, "unlabelled.jsonl:1: unknown sentiment label 'good'"),
        (lambda folder: (folder / "dataset.json").unlink(), "dataset.json: no such file; write the directory with"),
        (lambda folder: (folder / "data" / "train.jsonl").unlink(), "train.jsonl: no such file; write it with"),
    ],
)
def test_data_that_cannot_be_used_is_refused(
    home: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None], said: str,
) -> None:  # fmt: skip
    spoil(folder)
    assert main(command(home, folder, tmp_path / "run")) == 65
    assert said in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_stray_label_of_another_task_is_left_out_and_said(
    home: Path, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = {"id": "x", "text": "Calder and Merrow are in the market", "sentiment": None, "topic": "macro"}
    write(folder / "data" / "train.jsonl", [*with_topics(1), alone])
    write(folder / "data" / "validation.jsonl", [*labelled(6, 8), alone | {"text": "Oil to a record", "topic": "ipo"}])
    rows = dataset.read(folder, TASKS, "1", 4000)
    assert rows.one_class == {"topic": {"macro": 2}} and (len(rows.train), len(rows.validation)) == (60, 12)
    assert {task for row in (*rows.train, *rows.validation) for task in row.labels} == {"sentiment"}
    assert main(command(home, folder, tmp_path / "run", "--json", "--epochs", "1")) == 0
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    warned = [event for event in told if event["event"] == "warning"]
    assert [(event["task"], event["label"], event["labels"]) for event in warned] == [("topic", "macro", 2)]
    written = manifest.read(tmp_path / "models" / "small" / "2")["training"]["dataset"]
    assert written["classes"] == {"sentiment": {"negative": 30, "positive": 30}}


class KilledError(BaseException):
    """Stands for a SIGKILL."""


def test_a_killed_refresh_leaves_no_version_and_goes_on(
    home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def die(*_: object) -> None:
        raise KilledError

    out, asked = tmp_path / "models" / "small", command(home, folder, tmp_path / "run", "--json", "--epochs", "2")
    # In the second epoch: the state of the first one is there, and training goes on from it.
    with monkeypatch.context() as patched:
        patched.setattr(loop, "STATE_SECONDS", 0.0)
        steps = iter(range(14))
        told = train.row_loss
        patched.setattr(train, "row_loss", lambda *given: told(*given) if next(steps, None) is not None else die())
        with pytest.raises(KilledError):
            main(asked)
    assert not out.exists()
    # While exporting: trained, but neither a version nor a half one.
    with monkeypatch.context() as patched:
        patched.setattr(manifest, "quantise", die)
        with pytest.raises(KilledError):
            main(asked)
    assert list(out.iterdir()) == []
    events = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert events.count("resumed") == 1
    # Nothing is left behind that a third try would trip over, nor is anything trained again.
    (out / ".making-2").mkdir()
    (out / ".making-2" / "manifest.json").write_text("{")
    assert main(asked) == 0
    events = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert "step" not in events and [path.name for path in out.iterdir()] == ["2"]
    assert main([*asked, "--version", "3"]) == 64
    assert "name another --run-dir" in capfd.readouterr().err


def test_a_full_disk_is_said_in_a_line_leaves_no_version_and_is_got_over(
    home: Path, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, asked = tmp_path / "models" / "small", command(home, folder, tmp_path / "run", "--epochs", "2")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file of this process grows beyond that: the log fits, a checkpoint does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert main(asked) == 70
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "error: a checkpoint cannot be written" in capfd.readouterr().err
    assert not out.exists() or list(out.iterdir()) == []
    assert main(asked) == 0
    manifest.verify(out / "2")


def test_what_was_imported_cannot_be_trained_further(
    home: Path, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    imported = tmp_path / "small" / "1"
    shutil.copytree(home / "small" / "1", imported)
    told = json.loads((imported / "manifest.json").read_text())
    (imported / "manifest.json").write_text(json.dumps(told | {"parameters": None}))
    assert main(command(tmp_path, folder, tmp_path / "run")) == 65
    assert "only what the trainer made can be trained further" in capfd.readouterr().err


def test_what_torch_runs_out_of_is_told_with_a_remedy() -> None:
    with pytest.raises(RuntimeError) as much:
        torch.empty(1 << 55)
    assert "--batch" in shortage(much.value) and "--batch" in shortage(MemoryError())
    assert shortage(RuntimeError("a shape is wrong")) is None


def test_training_stops_where_validation_gets_no_better(
    home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = champion.load(home / "small" / "1")
    rows = dataset.read(folder, TASKS, "1", 4000)
    recipe, losses = refresh.Recipe(batch=64, patience=1), iter([0.5, 0.4, 0.6, 0.1])
    monkeypatch.setattr(refresh, "judge", lambda *_: {"loss": next(losses)})
    report = refresh.learn(before, *refresh.lessons(before, rows, recipe), rows, recipe, tmp_path, Log(None))
    assert report == {"epoch": 2, "loss": 0.4} and next(losses) == 0.1
    assert not (tmp_path / loop.STATE).exists()
