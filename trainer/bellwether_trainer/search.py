"""A search for a better recipe: Optuna's sampler proposes, short trainings answer, hopeless ones end early.

Every trial is a line or a few in `<run>/search.jsonl`, so a search that was stopped goes on with what it knows; a trial
that was cut off counts for nothing.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from .errors import TrainerError, UsageError
from .log import Log
from .train import Recipe

KEPT = "search.jsonl"

UNPRUNED_TRIALS = 4
"""Trials that go to their end whatever they score: the median of fewer says little."""

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)

Train = Callable[[Recipe, Path, Callable[[dict], None]], dict]
"""A recipe, a run directory and who hears each epoch's report; returns the best epoch's report."""


@dataclass(frozen=True)
class Bounds:
    """Where a search ends: trials of all calls together, minutes of this one, looked at after each epoch."""

    trials: int
    minutes: float


class TimeIsOverError(Exception):
    """The minutes have run out in the middle of a trial."""


def search(base: Recipe, bounds: Bounds, run: Path, train: Train, log: Log) -> Recipe:
    """The recipe of the best score on the validation cut, `base` but for what `propose` varies.

    Raises UsageError where `run` holds a search from another base, TrainerError where no trial has ended.
    """
    deadline = time.monotonic() + 60.0 * bounds.minutes
    study = _study(base, run)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)

    def objective(trial: optuna.Trial) -> float:
        recipe = propose(trial, base)
        folder = run / f"trial-{trial.number}"

        def heard(report: dict) -> None:
            trial.report(report["score"], report["epoch"])
            last = report["epoch"] == recipe.epochs
            if not last and time.monotonic() > deadline:
                raise TimeIsOverError
            if not last and trial.should_prune():
                raise optuna.TrialPruned

        try:
            score = train(recipe, folder, heard)["score"]
        except optuna.TrialPruned:
            log.write("pruned", trial=trial.number)
            raise
        finally:
            # The log and the curves stay; the weights of a trial are of no use.
            for weights in folder.glob("*.pt"):
                weights.unlink()
        log.write("trial", trial=trial.number, score=score)
        return score

    while _ended(study) < bounds.trials and time.monotonic() < deadline:
        study.optimize(objective, n_trials=1, catch=(TimeIsOverError,))
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        raise TrainerError(f"no trial ended in {bounds.minutes:g} minutes; give it more, or fewer rows or epochs")
    best = study.best_trial
    log.write("best", trial=best.number, score=best.value, of=_ended(study))
    return propose(optuna.trial.FixedTrial(best.params), base)


def propose(trial: optuna.trial.BaseTrial, base: Recipe) -> Recipe:
    """A recipe with what a trial says; numbers have three digits, so that a command line can tell them exactly."""

    def between(name: str, low: float, high: float, log: bool = False) -> float:
        return float(f"{trial.suggest_float(name, low, high, log=log):.3g}")

    told: dict[str, object] = {
        "head_learning_rate": between("head_learning_rate", 1e-4, 5e-3, log=True),
        "weight_decay": between("weight_decay", 1e-3, 1e-1, log=True),
        "dropout": between("dropout", 0.0, 0.2),
        "label_smoothing": between("label_smoothing", 0.0, 0.1),
        "varied_share": between("varied_share", 0.0, 0.5),
        "hidden_words": between("hidden_words", 0.0, 0.15),
    }
    if base.method == "full":
        told["learning_rate"] = between("learning_rate", 3e-5, 5e-4, log=True)
        told["layer_decay"] = between("layer_decay", 0.75, 1.0)
    else:
        told["method_learning_rate"] = between("method_learning_rate", 1e-4, 1e-2, log=True)
        size = {"prefix": "prefix_tokens", "adapter": "adapter_width"}.get(base.method, "rank")
        middle = getattr(Recipe, size)
        told[size] = trial.suggest_categorical(size, [middle // 2, middle, 2 * middle])
    return replace(base, **told)


def as_options(recipe: Recipe) -> str:
    """What is not the default, as options of `train`; the share of the rows stays behind, it was the search's."""
    changed = [field for field in fields(recipe) if getattr(recipe, field.name) != field.default]
    changed = [field for field in changed if field.name != "rows_share"]
    return " ".join(f"--{field.name.replace('_', '-')} {getattr(recipe, field.name)}" for field in changed)


def _study(base: Recipe, run: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(run / KEPT))),
        study_name="search",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
        load_if_exists=True,
    )
    # A sampler that began with the same seed again would draw its first recipes again.
    study.sampler = optuna.samplers.TPESampler(seed=base.seed + len(study.trials))
    held = study.user_attrs.get("base")
    if held is None:
        study.set_user_attr("base", asdict(base))
    elif held != asdict(base):
        differs = sorted(name for name, value in asdict(base).items() if held.get(name) != value)
        raise UsageError(f"{run} holds a search with another {', '.join(differs)}; name another --run-dir")
    return study


def _ended(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=_ENDED))
