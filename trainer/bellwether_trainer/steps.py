"""What each command does: files in, one step of a model's making, files out."""

import argparse
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch

from . import (
    ablation,
    bundle,
    champion,
    compare,
    data,
    devices,
    golden_texts,
    manifest,
    methods,
    network,
    pretrain,
    refresh,
    robust,
    search,
    statements,
    teach,
    tracking,
    train,
    whole,
)
from .errors import DataError, TrainerError, UsageError
from .log import Log
from .tasks import TASKS


def pretrain_encoder(options: argparse.Namespace) -> None:
    """`pretrain`: the training texts and the unlabelled ones to an encoder."""
    recipe = pretrain.Recipe(**{field.name: getattr(options, field.name) for field in fields(pretrain.Recipe)})
    never = data.keys(options.never)
    split = data.load(options.data, options.validation_share, never=never)
    texts = [example.text for example in split.train] + data.unlabelled(options.data, options.validation_share, never)
    model, tokenizer = network.pretrained()
    log = _log(options, options.run_dir)
    pretrain.pretrain(model.encoder, tokenizer, texts, recipe, options.run_dir, log)
    log.close()


def _log(options: argparse.Namespace, run: Path) -> Log:
    run.mkdir(parents=True, exist_ok=True)
    return Log(run / "log.jsonl", trackers=tracking.of_run(run, options.wandb))


def _recipe(options: argparse.Namespace) -> train.Recipe:
    recipe = train.Recipe(**{field.name: getattr(options, field.name) for field in fields(train.Recipe)})
    if recipe.epochs < 1 or recipe.batch < 1 or recipe.max_tokens < 3 or not 0.0 <= recipe.validation_share < 1.0:
        raise UsageError("epochs and batch are at least 1, max-tokens at least 3, validation-share from 0 to below 1")
    methods.refuse_unknown(recipe.method)
    if min(recipe.rank, recipe.prefix_tokens, recipe.adapter_width) < 1 or recipe.patience < 0:
        raise UsageError("rank, prefix-tokens and adapter-width are at least 1, patience at least 0")
    return recipe


def _chooser(options: argparse.Namespace) -> train.Recipe:
    """The recipe of a command that chooses by the validation cut."""
    recipe = _recipe(options)
    if recipe.validation_share == 0.0:
        raise UsageError("validation-share is above 0 here: what is chosen is chosen by that cut")
    return recipe


def fine_tune(options: argparse.Namespace) -> None:
    """`train`: rows to a checkpoint and, where it is asked for, a model directory."""
    recipe = _recipe(options)
    if options.out:
        methods.refuse_export(recipe.method)
        manifest.refuse_taken(options.out / options.name / options.version)
        _calibration(options, recipe)
    log = _fit(options, recipe, options.run_dir)
    if options.out:
        _write(options, log)
    log.close()


def _fit(
    options: argparse.Namespace,
    recipe: train.Recipe,
    run: Path,
    heard: Callable[[dict], None] = lambda report: None,
) -> Log:
    device = devices.choose(options.device)
    log = _log(options, run)
    never = data.keys(options.never)
    split = data.load(options.data, recipe.validation_share, never=never)
    split.train.extend(statements.examples())
    answers = teach.read(options.answers) if options.answers else None
    unlabelled = data.unlabelled(options.data, recipe.validation_share, never) if answers else []
    torch.manual_seed(recipe.seed)
    model, tokenizer = network.pretrained()
    history = []
    if options.encoder:
        kept = _checkpoint(options.encoder)
        model.encoder.load_state_dict(kept["encoder"])
        history = [kept["recipe"] | {"pretrained_on_texts": kept["texts"]}]
    if options.start:
        kept = _checkpoint(options.start)
        model.load_state_dict(kept["model"])
        history = [*kept["history"], kept["recipe"] | {"best_epoch": kept["report"]["epoch"]}]
    model.to(device)
    try:
        train.fit(model, tokenizer, split, recipe, _deciding(), run, log, history, answers, unlabelled, heard)
    except BaseException:
        log.close()
        raise
    return log


def ablate(options: argparse.Namespace) -> None:
    """`ablate`: the table of what each part of the recipe is worth."""
    recipe = train.Recipe(epochs=options.epochs, rows_share=options.rows_share)

    def one(variant: ablation.Variant, run: Path) -> dict:
        chosen = argparse.Namespace(**vars(options))
        chosen.encoder = options.encoder if variant.pretrained else None
        chosen.answers = options.answers if variant.taught else None
        _fit(chosen, variant.recipe, run).close()
        return bundle.read_json(run / "best.json")

    wanted = [
        variant
        for variant in ablation.variants(recipe)
        if (options.encoder or not variant.pretrained) and (options.answers or not variant.taught)
    ]
    print(ablation.table(wanted, options.run_dir, one))


def compare_methods(options: argparse.Namespace) -> None:
    """`methods`: the table of what each method of training costs and gives."""
    recipe = _chooser(options)

    def one(variant: ablation.Variant, run: Path) -> dict:
        _fit(options, variant.recipe, run).close()
        return bundle.read_json(run / "best.json") | bundle.read_json(run / "cost.json")

    print(ablation.costs(ablation.by_method(recipe), options.run_dir, one))


def search_recipe(options: argparse.Namespace) -> None:
    """`search`: trials to the options of a better recipe."""
    base = _chooser(options)
    if options.trials < 1 or options.minutes <= 0:
        raise UsageError("trials are at least 1, minutes more than 0")

    def one(recipe: train.Recipe, run: Path, heard: Callable[[dict], None]) -> dict:
        _fit(options, recipe, run, heard).close()
        return bundle.read_json(run / "best.json")

    options.run_dir.mkdir(parents=True, exist_ok=True)
    bounds = search.Bounds(options.trials, options.minutes)
    best = search.search(base, bounds, options.run_dir, one, Log(options.run_dir / "log.jsonl"))
    print(f"train {search.as_options(best)}")


def compare_precisions(options: argparse.Namespace) -> None:
    """`compare`: what int8 costs on rows that no training saw."""
    kept, _, validation = _held_out(options)
    _refuse_nothing(validation)
    model, tokenizer = network.pretrained(TASKS)
    model.load_state_dict(kept["model"])
    scorer = bundle.scorer(options.model)
    for task in TASKS:
        mine = [example for example in validation if example.task == task.name]
        texts, labels = [example.text for example in mine], np.array([example.label for example in mine])
        full = teach.ask(model, tokenizer, texts, kept["recipe"]["max_tokens"])[task.name].argmax(dim=1).numpy()
        small = scorer.logits(texts, [task])[task.name].argmax(axis=1)
        for name, difference in compare.paired(full, small, labels, len(task.labels)).items():
            print(f"{task.name} {name}: int8 against fp32 on {len(mine)} held-out rows: {difference}")


def measure_robustness(options: argparse.Namespace) -> None:
    """`robust`: the validation cut told differently."""
    split = data.load(options.data, options.validation_share, never=data.keys(options.never))
    _refuse_nothing(split.validation)
    scorer = bundle.scorer(options.model)
    for kind, pairs in robust.variants(split.validation).items():
        shares = robust.kept(scorer, pairs, TASKS)
        told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
        print(f"{kind}: {len(pairs)} pairs, {told}")
    for name, share in robust.turned(scorer).items():
        print(f"negation, {name}: {100 * share:.0f} %")


def _refuse_nothing(validation: list[data.Example]) -> None:
    """Raises UsageError where no validation cut was kept out of the training."""
    if not validation:
        raise UsageError("there is no validation cut to measure on: all rows were trained on (validation-share 0)")


def refresh_champion(options: argparse.Namespace) -> None:
    """`refresh`: the champion and new labels to a candidate version."""
    if options.attended:
        threading.Thread(target=_end_with_input, daemon=True).start()
    recipe = refresh.Recipe(**{field.name: getattr(options, field.name) for field in fields(refresh.Recipe)})
    if min(recipe.epochs, recipe.batch, recipe.patience) < 1 or min(recipe.replay, recipe.unlabelled_max) < 0:
        raise UsageError("epochs, batch and patience are at least 1, replay and unlabelled-max at least 0")
    methods.refuse_unknown(recipe.method)
    methods.refuse_export(recipe.method)
    if recipe.rank < 1:
        raise UsageError("rank is at least 1")
    order = refresh.Order(
        options.dataset, options.champion, options.run_dir, options.out, options.name, options.version
    )
    options.run_dir.mkdir(parents=True, exist_ok=True)
    trackers = tracking.of_run(options.run_dir, options.wandb)
    log = Log(options.run_dir / "log.jsonl", options.json, trackers)
    try:
        refresh.refresh(order, recipe, log)
    finally:
        log.close()


def _end_with_input() -> None:
    """Ends this process when its standard input does: whoever began it is gone, and another may take the run up."""
    # Not through sys.stdin, whose lock an interpreter that ends by itself could not have.
    while os.read(0, 1):
        pass
    os._exit(TrainerError.exit_code)


def _held_out(options: argparse.Namespace) -> tuple[dict, data.Split, list[data.Example]]:
    """A run's best checkpoint, the cuts that it was trained with, and what of the validation cut decides."""
    kept = _checkpoint(options.run_dir / "best.pt")
    split = data.load(options.data, kept["recipe"]["validation_share"], never=data.keys(options.never))
    return kept, split, [example for example in split.validation if example.source in _deciding()]


def _deciding() -> frozenset[str]:
    return frozenset(data_set.name for data_set in data.SETS if data_set.decides)


def collect_answers(options: argparse.Namespace) -> None:
    """`teach`: the mean of what checkpoints answer, for every text that a student may see."""
    never = data.keys(options.never)
    split = data.load(options.data, options.validation_share, never=never)
    texts = [example.text for example in split.train] + data.unlabelled(options.data, options.validation_share, never)
    texts = list(dict.fromkeys(texts))
    options.run_dir.mkdir(parents=True, exist_ok=True)
    log = Log(options.run_dir / "log.jsonl")
    model, tokenizer = network.pretrained()
    heard = []
    for path in options.checkpoints:
        kept = _checkpoint(path)
        model.load_state_dict(kept["model"])
        heard.append(teach.ask(model, tokenizer, texts, kept["recipe"]["max_tokens"], narrow=True))
        log.write("taught", texts=len(texts), teacher=str(path))
    teach.save(options.run_dir / "answers.pt", texts, teach.mean(heard), [str(path) for path in options.checkpoints])


def _checkpoint(path: Path) -> dict:
    """What a run left, or a model directory, which is its own checkpoint. Its weights are a plain encoder's."""
    if path.is_dir():
        return _shipped(path)
    try:
        kept = torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `train` first") from error
    methods.refuse_weights(path, kept["recipe"])
    return kept


def _shipped(directory: Path) -> dict:
    """A model directory as a checkpoint to go on from."""
    written = manifest.read(directory)
    weights = champion.weights(directory, written)
    told = written["training"]
    recipe = {key: value for key, value in told["recipe"].items() if key != "best_epoch"}
    report = {"epoch": told["recipe"].get("best_epoch")}
    return {"model": weights, "recipe": recipe, "report": report, "history": told.get("continued_from", [])}


def average(options: argparse.Namespace) -> None:
    """`average`: the mean of checkpoints, with what it reaches on the validation cut."""
    averaged = train.average([_checkpoint(path) for path in options.checkpoints])
    recipe = train.Recipe(**averaged["recipe"])
    split = data.load(options.data, recipe.validation_share, never=data.keys(options.never))
    model, tokenizer = network.pretrained()
    model.load_state_dict(averaged["model"])
    validation = train.tokenise(tokenizer, split.validation, recipe.max_tokens)
    averaged["report"] = {"epoch": recipe.epochs, **train.validate(model, validation, _deciding())}
    options.run_dir.mkdir(parents=True, exist_ok=True)
    Log(options.run_dir / "log.jsonl").write("average", of=len(options.checkpoints), **averaged["report"])
    whole.save(averaged, options.run_dir / "best.pt")


def finish(options: argparse.Namespace) -> None:
    """`finish`: a checkpoint to a model directory."""
    manifest.refuse_taken(options.out / options.name / options.version)
    _write(options, Log(options.run_dir / "log.jsonl"))


def _write(options: argparse.Namespace, log: Log) -> None:
    """From `best.pt` on both ways, so that `finish` gives exactly what `train` would have given."""
    kept, split, validation = _held_out(options)
    recipe = train.Recipe(**kept["recipe"])
    calibration = _calibration(options, recipe)
    model, tokenizer = network.pretrained(TASKS)
    model.load_state_dict(kept["model"])
    training = {
        "data": [
            {"name": data_set.source, "licence": data_set.licence, "rows": split.rows[data_set.name]}
            for data_set in data.SETS
        ]
        + [{"name": statements.SOURCE, "licence": "Apache-2.0", "rows": len(statements.examples())}],
        "recipe": asdict(recipe) | {"encoder": "all-MiniLM-L6-v2 (Apache-2.0)", "best_epoch": kept["report"]["epoch"]},
        "continued_from": kept["history"],
        "averaged": kept.get("averaged", []),
        "seed": recipe.seed,
    }
    if calibration:
        told = manifest.read(options.calibration)
        training["calibration_of"] = f"{told['name']} {told['version']}"
    if split.validation:
        data.write_rows(options.run_dir / "validation.jsonl", split.validation)
    texts = [example.text for example in split.train]
    home = options.out / options.name
    written = manifest.finish(
        model,
        tokenizer,
        validation,
        golden_texts.TEXTS,
        manifest.Identity(options.name, options.version),
        training,
        recipe.max_tokens,
        home / options.version,
        manifest.typical(texts, recipe.seed),
        kept=calibration,
    )
    log.write("finished", directory=str(home / options.version), **written["metrics"]["validation"])
    _name(home, options.version)


def _calibration(options: argparse.Namespace, recipe: train.Recipe) -> dict[str, dict[str, float]]:
    """Temperature and threshold a task, of the version that `--calibration` names. Nothing where it names none; raises
    UsageError where the recipe leaves no rows to measure them on."""
    if options.calibration:
        calibration = manifest.calibration_of(manifest.read(options.calibration))
        if missing := [task.name for task in TASKS if task.name not in calibration]:
            raise UsageError(f"{options.calibration} does not answer {', '.join(missing)}: name a version that does")
        return calibration
    if recipe.validation_share == 0.0:
        raise UsageError(
            "all rows were trained on, so none is left to calibrate on: name a version that is calibrated and was"
            " trained like this one, with --calibration"
        )
    return {}


def _name(home: Path, version: str) -> None:
    """Makes the version champion where there is none; else prints the command that does."""
    if (home / "champion").exists():
        print(f"to let it answer: bellwether model promote {version} --model {home} --force --reason TEXT")
        return
    aside = home / "champion.new"
    aside.write_text(f"{version}\n", encoding="utf-8")
    whole.put(aside, home / "champion")
