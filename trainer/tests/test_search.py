"""Promise: a search ends at its bounds, goes on where it was stopped, and tells a command line that means its best."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from bellwether_trainer import search, steps, train
from bellwether_trainer.__main__ import _parser, main
from bellwether_trainer.errors import TrainerError, UsageError
from bellwether_trainer.log import Log
from test_methods import SHORT, small_encoder  # noqa: F401

BASE = train.Recipe(epochs=3)


class Trainings:
    """Stands for training: a recipe is the better the nearer its dropout is to 0.15, and an epoch adds a little."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.recipes: list[train.Recipe] = []
        self.epochs: list[int] = []
        self._stop_at = stop_at

    def __call__(self, recipe: train.Recipe, run: Path, heard: Callable[[dict], None]) -> dict:
        if len(self.recipes) == self._stop_at:
            raise KeyboardInterrupt
        run.mkdir(parents=True)
        (run / "best.pt").touch()
        (run / "log.jsonl").touch()
        self.recipes.append(recipe)
        self.epochs.append(0)
        for epoch in range(1, recipe.epochs + 1):
            self.epochs[-1] = epoch
            report = {"epoch": epoch, "score": 0.8 - abs(recipe.dropout - 0.15) + 0.001 * epoch}
            heard(report)
        return report


def distance(recipe: train.Recipe) -> float:
    return abs(recipe.dropout - 0.15)


def test_a_stopped_search_goes_on_with_what_it_knows(tmp_path: Path) -> None:
    bounds = search.Bounds(trials=8, minutes=5.0)
    first, second = Trainings(stop_at=3), Trainings()
    with pytest.raises(KeyboardInterrupt):
        search.search(BASE, bounds, tmp_path, first, Log(None))
    best = search.search(BASE, bounds, tmp_path, second, Log(None))
    assert len(first.recipes) == 3 and len(second.recipes) == 5
    assert not {recipe.dropout for recipe in first.recipes} & {recipe.dropout for recipe in second.recipes}
    assert best == min(first.recipes + second.recipes, key=distance)
    # All is done: nothing is trained again.
    third = Trainings()
    assert search.search(BASE, bounds, tmp_path, third, Log(None)) == best and not third.recipes
    assert not list(tmp_path.glob("trial-*/*.pt")) and len(list(tmp_path.glob("trial-*/log.jsonl"))) == 8
    with pytest.raises(UsageError, match="a search with another epochs"):
        search.search(replace(BASE, epochs=4), bounds, tmp_path, third, Log(None))


def test_a_hopeless_trial_ends_early_and_is_never_the_best(tmp_path: Path) -> None:
    trainings = Trainings()
    search.search(BASE, search.Bounds(trials=12, minutes=5.0), tmp_path, trainings, Log(None))
    assert trainings.epochs[: search.UNPRUNED_TRIALS] == [3] * search.UNPRUNED_TRIALS
    pruned = [recipe for recipe, epochs in zip(trainings.recipes, trainings.epochs, strict=True) if epochs < 3]
    assert pruned and len(pruned) < 8
    assert min(map(distance, pruned)) > min(map(distance, trainings.recipes))


def test_minutes_bound_a_search_in_the_middle_of_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def monotonic() -> float:
        return now

    class Slow(Trainings):
        def __call__(self, recipe: train.Recipe, run: Path, heard: Callable[[dict], None]) -> dict:
            def later(report: dict) -> None:
                nonlocal now
                now += 30.0
                heard(report)

            return super().__call__(recipe, run, later)

    monkeypatch.setattr(search, "time", type("Clock", (), {"monotonic": staticmethod(monotonic)}))
    with pytest.raises(TrainerError, match=r"no trial ended in 0\.9 minutes"):
        search.search(BASE, search.Bounds(trials=5, minutes=0.9), tmp_path, Slow(), Log(None))
    # 1.5 minutes a trial: one ends, the second is cut off after its second epoch.
    slow = Slow()
    search.search(BASE, search.Bounds(trials=5, minutes=2.4), tmp_path, slow, Log(None))
    assert slow.epochs == [3, 2]


def test_the_options_of_a_recipe_mean_the_recipe() -> None:
    trial = optuna.create_study().ask()
    found = search.propose(trial, replace(BASE, method="lora", rows_share=0.25))
    assert search.propose(optuna.trial.FixedTrial(trial.params), replace(BASE, method="lora", rows_share=0.25)) == found
    told = search.as_options(found).split()
    options = _parser().parse_args(["train", "--data", "d", "--run-dir", "r", *told])
    assert steps._recipe(options) == replace(found, rows_share=1.0)
    assert found.method_learning_rate != BASE.method_learning_rate and found.learning_rate == BASE.learning_rate


def test_the_command_searches_with_real_trainings(
    sets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    small_encoder: list[int],  # noqa: F811
) -> None:
    run = ["search", "--data", str(sets), "--run-dir", str(tmp_path), *SHORT, "--rows-share", "1", "--trials", "2"]
    assert main(run) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("train ") and "--learning-rate" in last and len(small_encoder) == 2
    assert (tmp_path / search.KEPT).is_file() and not list(tmp_path.glob("trial-*/*.pt"))
    assert main(run) == 0
    assert len(small_encoder) == 2 and capsys.readouterr().out.splitlines()[-1] == last
    assert main([*run, "--minutes", "0"]) == 64
