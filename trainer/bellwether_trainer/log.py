"""Progress: a line a person can follow on standard output, the same as JSON lines in a file."""

import json
import time
from pathlib import Path


class Log:
    """Where a run tells how it goes. Without a path it only prints."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, event: str, **values: object) -> None:
        """One line each."""
        shown = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
        )
        print(f"{event:<10} {shown}", flush=True)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "at": round(time.time(), 3), **values}) + "\n")
