"""`python -m bellwether_trainer`: train, finish, tiny, verify. An error is one line and an exit code."""

import argparse
import sys
from dataclasses import asdict, fields
from pathlib import Path

import torch

from . import data, golden_texts, manifest, network, tiny, train
from .errors import DataError, TrainerError, UsageError
from .tasks import TASKS


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UsageError(f"{message}; see --help")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    torch.set_num_threads(2)
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return TrainerError.exit_code
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="bellwether_trainer", description="Trains, exports and checks bellwether's models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name, run, text in (
        ("train", _train, "train on cleaned JSON lines, then write the model directory"),
        ("finish", _finish, "write the model directory from a run's best epoch"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--data", type=Path, required=True, help="directory of what `bellwether clean` wrote")
        command.add_argument("--run-dir", type=Path, required=True, help="checkpoints and the log go here")
        command.add_argument("--out", type=Path, required=True, help="the models directory")
        command.add_argument("--name", default="finance-en")
        command.add_argument("--version", default="1")
        command.set_defaults(run=run)
    commands.choices["train"].add_argument("--start", type=Path, help="a best.pt to go on from, not the bare encoder")
    for field in fields(train.Recipe):
        flag = f"--{field.name.replace('_', '-')}"
        commands.choices["train"].add_argument(flag, type=type(field.default), default=field.default)
    command = commands.add_parser("tiny", help="write the tiny model of the tests")
    command.add_argument("--out", type=Path, required=True, help="the model's directory, models/tiny/1")
    command.set_defaults(run=lambda options: tiny.build(options.out))
    command = commands.add_parser("verify", help="check a model directory: hashes and golden inputs")
    command.add_argument("directory", type=Path)
    command.set_defaults(run=lambda options: manifest.verify(options.directory))
    return parser


def _recipe(options: argparse.Namespace) -> train.Recipe:
    recipe = train.Recipe(**{field.name: getattr(options, field.name) for field in fields(train.Recipe)})
    if recipe.epochs < 1 or recipe.batch < 1 or recipe.max_tokens < 3 or not 0.0 < recipe.validation_share < 1.0:
        raise UsageError("epochs and batch are at least 1, max-tokens at least 3, validation-share between 0 and 1")
    return recipe


def _train(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    split = data.load(options.data, recipe.validation_share)
    torch.manual_seed(recipe.seed)
    model, tokenizer = network.pretrained()
    history = []
    if options.start:
        kept = _checkpoint(options.start)
        model.load_state_dict(kept["model"])
        history = [*kept["history"], kept["recipe"] | {"best_epoch": kept["report"]["epoch"]}]
    options.run_dir.mkdir(parents=True, exist_ok=True)
    log = train.Log(options.run_dir / "log.jsonl")
    decides = frozenset(data_set.name for data_set in data.SETS if data_set.decides)
    train.fit(model, tokenizer, split, recipe, decides, options.run_dir, log, history)
    _write(options, log)


def _checkpoint(path: Path) -> dict:
    try:
        return torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `train` first") from error


def _finish(options: argparse.Namespace) -> None:
    _write(options, train.Log(options.run_dir / "log.jsonl"))


def _write(options: argparse.Namespace, log: train.Log) -> None:
    """From `best.pt` on both ways, so that `finish` gives exactly what `train` would have given."""
    kept = _checkpoint(options.run_dir / "best.pt")
    recipe = train.Recipe(**kept["recipe"])
    split = data.load(options.data, recipe.validation_share)
    model, tokenizer = network.pretrained(TASKS)
    model.load_state_dict(kept["model"])
    training = {
        "data": [
            {"name": data_set.source, "licence": data_set.licence, "rows": split.rows[data_set.name]}
            for data_set in data.SETS
        ],
        "recipe": asdict(recipe) | {"encoder": "all-MiniLM-L6-v2 (Apache-2.0)", "best_epoch": kept["report"]["epoch"]},
        "continued_from": kept["history"],
        "seed": recipe.seed,
    }
    deciding = {data_set.name for data_set in data.SETS if data_set.decides}
    validation = [example for example in split.validation if example.source in deciding]
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
    )
    aside = home / "champion.new"
    aside.write_text(f"{options.version}\n", encoding="utf-8")
    aside.replace(home / "champion")
    log.write("finished", directory=str(home / options.version), **written["metrics"]["validation"])


if __name__ == "__main__":
    sys.exit(main())
