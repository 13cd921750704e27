"""Where a model trains: on a GPU if there is one and nobody says otherwise."""

import torch

from .errors import UsageError

DEVICES = ("auto", "cpu", "cuda")


def choose(name: str) -> torch.device:
    """The device of a name in `DEVICES`. Raises UsageError where a GPU is asked for and torch sees none."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("device cuda: torch sees no GPU; leave --device out, or say cpu")
    return torch.device("cuda" if name != "cpu" and there else "cpu")
