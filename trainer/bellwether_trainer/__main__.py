"""`python -m bellwether_trainer`: each step of a model by itself. An error is one line and an exit code."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

import torch

from . import devices, manifest, one_head, pretrain, refresh, steps, tiny, train, variants
from .errors import TrainerError, UsageError, shortage


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UsageError(f"{message}; see --help")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return TrainerError.exit_code
    except (MemoryError, RuntimeError) as error:
        told = shortage(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return TrainerError.exit_code
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="bellwether_trainer", description="Trains, exports and checks bellwether's models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name, run, text in (
        ("pretrain", steps.pretrain_encoder, "pre-train the encoder further on texts alone; leaves encoder.pt"),
        ("train", steps.fine_tune, "fine-tune; leaves best.pt and, with --out, the model directory"),
        (
            "teach",
            steps.collect_answers,
            "let checkpoints answer for every text to learn from; leaves answers.pt",
        ),
        ("average", steps.average, "the mean of checkpoints of one lineage; leaves best.pt"),
        ("ablate", steps.ablate, "train the recipe part by part on a share of the rows; prints a table"),
        ("methods", steps.compare_methods, "train by each method on a share of the rows; prints a table"),
        ("search", steps.search_recipe, "try recipes, keep what they score; prints the best one's options"),
        ("compare", steps.compare_precisions, "int8 against fp32 on the validation cut, with a paired bootstrap"),
        ("robust", steps.measure_robustness, "the same texts told differently, and negated"),
        ("finish", steps.finish, "write the model directory from a run's best.pt"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--data", type=Path, required=True, help="directory of what `bellwether clean` wrote")
        command.add_argument("--run-dir", type=Path, required=True, help="checkpoints and the log go here")
        command.add_argument("--never", type=Path, nargs="*", default=[], help="files of texts to leave out everywhere")
        command.set_defaults(run=run)
    for name in ("train", "finish"):
        command = commands.choices[name]
        command.add_argument("--out", type=Path, required=name == "finish", help="the models directory")
        command.add_argument("--name", default="finance-en")
        command.add_argument("--version", default="1")
        text = "a version whose temperatures and thresholds are taken over, not measured"
        command.add_argument("--calibration", type=Path, help=text)
    for name in ("compare", "robust"):
        commands.choices[name].add_argument("--model", type=Path, required=True, help="a model directory")
    for name in ("pretrain", "teach", "robust"):
        commands.choices[name].add_argument("--validation-share", type=float, default=train.Recipe.validation_share)
    for name in ("train", "ablate", "methods", "search"):
        command = commands.choices[name]
        command.add_argument("--device", choices=devices.DEVICES, default="auto")
        command.add_argument("--encoder", type=Path, help="an encoder.pt to begin with, not the bare encoder")
        command.add_argument("--answers", type=Path, help="an answers.pt to learn from as well")
    command = commands.choices["ablate"]
    command.add_argument("--rows-share", type=float, default=0.25)
    command.add_argument("--epochs", type=int, default=3)
    for name in ("ablate", "methods", "search"):
        commands.choices[name].set_defaults(start=None)
    command = commands.choices["search"]
    command.add_argument("--trials", type=int, default=20, help="of all calls together")
    command.add_argument("--minutes", type=float, default=60.0, help="of this call, looked at after each epoch")
    command = commands.choices["train"]
    command.add_argument("--start", type=Path, help="a best.pt or a model directory to go on from")
    for name in ("teach", "average"):
        commands.choices[name].add_argument("checkpoints", type=Path, nargs="+")
    _settings(commands.choices["pretrain"], pretrain.Recipe)
    _settings(command, train.Recipe)
    _settings(commands.choices["search"], train.Recipe)
    _settings(commands.choices["methods"], train.Recipe, without="method")
    for name in ("methods", "search"):
        commands.choices[name].set_defaults(rows_share=0.25, epochs=3)
    commands.choices["methods"].set_defaults(method=train.Recipe.method)
    command = commands.add_parser("refresh", help="learn new labels from the champion on; leaves a candidate version")
    command.add_argument("--dataset", type=Path, required=True, help="what `bellwether dataset` wrote")
    command.add_argument("--champion", type=Path, required=True, help="the model directory to start from")
    command.add_argument("--run-dir", type=Path, required=True, help="checkpoints and the log go here")
    command.add_argument("--out", type=Path, required=True, help="the models directory")
    command.add_argument("--name", default="finance-en")
    command.add_argument("--version", required=True, help="the candidate's")
    command.add_argument("--json", action="store_true", help="progress as JSON lines")
    command.add_argument("--attended", action="store_true", help="end when standard input does")
    command.set_defaults(run=steps.refresh_champion)
    _settings(command, refresh.Recipe)
    for name in ("pretrain", "train", "ablate", "methods", "search", "refresh"):
        told = "a project of Weights & Biases that hears of it as well"
        commands.choices[name].add_argument("--wandb", metavar="PROJECT", default=os.getenv("WANDB_PROJECT"), help=told)
    command = commands.add_parser("tiny", help="write the tiny model of the tests")
    command.add_argument("--out", type=Path, required=True, help="the model's directory, models/tiny/1")
    command.set_defaults(run=lambda options: tiny.build(options.out))
    command = commands.add_parser("one-head", help="write a small classifier as others export it, for the tests")
    command.add_argument("--out", type=Path, required=True, help="the export's directory")
    command.set_defaults(run=lambda options: one_head.build(options.out))
    command = commands.add_parser("variant", help="add a graph in fp32 or fp16 for CUDA to a version")
    command.add_argument("directory", type=Path)
    command.add_argument("--precision", choices=variants.PRECISIONS, default="fp16")
    command.set_defaults(run=lambda options: print(variants.add(options.directory, options.precision)))
    command = commands.add_parser("verify", help="check a model directory: hashes and golden inputs")
    command.add_argument("directory", type=Path)
    command.set_defaults(run=lambda options: manifest.verify(options.directory))
    return parser


def _settings(command: argparse.ArgumentParser, recipe: type, without: str = "") -> None:
    for field in fields(recipe):
        if field.name == without:
            continue
        command.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)


if __name__ == "__main__":
    sys.exit(main())
