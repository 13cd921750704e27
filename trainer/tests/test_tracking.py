"""Promise: every run leaves its curves, and nothing goes over the network unless somebody names a project."""

import json
import os
import subprocess
import sys
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


TOLD = """
import sys
sys.path.append(sys.argv[1])
from pathlib import Path
from bellwether_trainer import tracking
from bellwether_trainer.log import Log
log = Log(None, trackers=tracking.of_run(Path(sys.argv[2]), "market"))
log.write("start", train=5)
log.write("epoch", epoch=2, score=0.59375)
log.close()
"""


def test_a_project_hears_of_each_point_without_a_network(tmp_path: Path) -> None:
    # The package itself, from the tests' light environment: whoever trains without it need not have it.
    light = os.environ.get("BELLWETHER_TEST_PYTHON")
    assert light, "run these tests with scripts/test-python.sh trainer, which installs what they need"
    asked = [light, "-c", "import sysconfig, wandb; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
    run = tmp_path / "x"
    mode = {"WANDB_MODE": "offline", "PYTHONPATH": str(Path(tracking.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", TOLD, site, str(run)], check=True, env=os.environ | mode, cwd=tmp_path)
    (kept,) = run.glob("wandb/offline-run-*/run-*.wandb")
    told = kept.read_bytes()
    assert b"market" in told and b"epoch/score" in told and b"0.59375" in told


def test_onnx_runtime_reports_nothing_to_its_maker() -> None:
    bare = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    bare["PYTHONPATH"] = str(Path(__file__).parent.parent)
    asked = "import bellwether_trainer, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", asked], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
