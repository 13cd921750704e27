"""Curves of a run: TensorBoard's event files always, Weights & Biases where somebody names a project.

Only Weights & Biases sends anything over the network.
"""

import time
from pathlib import Path
from typing import Protocol

from .errors import MissingPieceError

FOLDER = "tensorboard"
"""Where the event files lie in a run's directory."""


class Tracker(Protocol):
    """What a log tells its events to."""

    def write(self, event: str, values: dict) -> None:
        """One event; those that are no points of a curve are passed over."""

    def close(self) -> None:
        """Nothing more will come."""


def of_run(run: Path, project: str | None) -> tuple[Tracker, ...]:
    """The trackers of a run. Raises MissingPieceError where a project is named and the package `wandb` is missing."""
    return (Board(run / FOLDER), *([Project(project, run)] if project else []))


def points(event: str, values: dict) -> tuple[int, dict[str, float]]:
    """The place on the axis and the numbers: of a "step" over steps, of an "epoch" over epochs, of others none."""
    if event not in ("step", "epoch"):
        return 0, {}
    place = int(str(values[event]).partition("/")[0])
    numbers = {
        f"{event}/{name}": float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("step", "epoch", "epochs")
    }
    return place, numbers


class Board:
    """Scalars for TensorBoard. The file is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = None

    def write(self, event: str, values: dict) -> None:
        """Written and flushed: a killed run keeps its curves."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        place, numbers = points(event, values)
        if not numbers:
            return
        self._writer = self._writer or EventFileWriter(str(self._folder))
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=place, summary=Summary(value=scalars)))
        self._writer.flush()

    def close(self) -> None:
        """Ends the writer's thread."""
        if self._writer:
            self._writer.close()


class Project:
    """The same for Weights & Biases; WANDB_MODE=offline keeps it in the run's directory."""

    def __init__(self, project: str, run: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingPieceError(
                f"the package wandb does not load ({error}); trainer/.venv/bin/python -m pip install wandb,"
                " or leave --wandb and WANDB_PROJECT out"
            ) from error
        run.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(project=project, name=run.name, dir=str(run))
        for event in ("step", "epoch"):
            self._run.define_metric(f"{event}/*", step_metric=event)

    def write(self, event: str, values: dict) -> None:
        """Sent by the package's own process."""
        place, numbers = points(event, values)
        if numbers:
            self._run.log({event: place, **numbers})

    def close(self) -> None:
        """Waits until all is sent."""
        self._run.finish()
