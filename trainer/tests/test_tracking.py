"""Promise: every run leaves its curves, and nothing goes over the network unless somebody names a project."""

import json
import sys
import types
from pathlib import Path

import pytest
from bellwether_trainer import tracking
from bellwether_trainer.__main__ import main
from bellwether_trainer.log import Log
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_methods import SHORT, small_encoder  # noqa: F401


def curve(run: Path, tag: str) -> dict[int, float]:
    """The points of one scalar in a run's event files, by their place."""
    read = EventAccumulator(str(run / tracking.FOLDER)).Reload()
    return {point.step: point.value for point in read.Scalars(tag)}


def test_a_run_leaves_the_curves_that_its_log_tells(
    sets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_encoder: list[int],  # noqa: F811
) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = tmp_path / "run"
    assert main(["train", "--data", str(sets), "--run-dir", str(run), *SHORT, "--epochs", "2"]) == 0
    told = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    scores = {event["epoch"]: event["score"] for event in told if event["event"] == "epoch"}
    losses = {int(event["step"].split("/")[0]): event["loss"] for event in told if event["event"] == "step"}
    assert len(scores) == 2 and curve(run, "epoch/score") == pytest.approx(scores)
    assert len(losses) == 2 and curve(run, "step/loss") == pytest.approx(losses)


def test_only_points_of_a_curve_are_drawn(tmp_path: Path) -> None:
    assert tracking.points("step", {"epoch": 1, "step": "50/90", "loss": 2.5}) == (50, {"step/loss": 2.5})
    told = {"epoch": 3, "epochs": 4, "score": 1, "best": True, "loss": None}
    assert tracking.points("epoch", told) == (3, {"epoch/score": 1.0})
    assert tracking.points("start", {"train": 5}) == (0, {})
    log = Log(tmp_path / "log.jsonl", trackers=tracking.of_run(tmp_path, None))
    log.write("start", train=5)
    log.close()
    assert not (tmp_path / tracking.FOLDER).exists()


@pytest.mark.parametrize("by_option", [True, False])
def test_a_project_without_its_package_is_said_before_training(
    by_option: bool, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    if not by_option:
        monkeypatch.setenv("WANDB_PROJECT", "market")
    run = ["train", "--data", str(sets), "--run-dir", str(tmp_path / "run"), *SHORT]
    assert main([*run, "--wandb", "market"] if by_option else run) == 69
    assert "-m pip install wandb" in capsys.readouterr().err
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_project_hears_of_each_point_and_of_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []

    def init(**named: str) -> types.SimpleNamespace:
        heard.append((named["project"], named["name"], named["dir"]))
        return types.SimpleNamespace(
            define_metric=lambda *args, **named: None, log=heard.append, finish=lambda: heard.append("end")
        )

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    log = Log(None, trackers=tracking.of_run(tmp_path / "x", "market"))
    log.write("start", train=5)
    log.write("epoch", epoch=2, score=0.5)
    log.close()
    assert heard == [("market", "x", str(tmp_path / "x")), {"epoch": 2, "epoch/score": 0.5}, "end"]
