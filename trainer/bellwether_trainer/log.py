"""Progress: a line a person can follow on standard output, the same as JSON lines in a file."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from .tracking import Tracker


class Log:
    """Where a run tells how it goes. Without a path it only prints; `as_json`: what it prints is JSON lines as well."""

    def __init__(self, path: Path | None, as_json: bool = False, trackers: Sequence[Tracker] = ()) -> None:
        self._path = path
        self._as_json = as_json
        self._trackers = trackers

    def write(self, event: str, **values: object) -> None:
        """One line each."""
        shown = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )
        line = json.dumps({"event": event, "at": round(time.time(), 3), **values})
        print(line if self._as_json else f"{event:<10} {shown}", flush=True)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        for tracker in self._trackers:
            tracker.write(event, values)

    def close(self) -> None:
        """Nothing more will come."""
        for tracker in self._trackers:
            tracker.close()
