"""Files and folders that are there whole or not at all, after a kill and after a power cut as well."""

import os
from pathlib import Path

import torch


def put(aside: Path, place: Path) -> None:
    """Renames a file or a folder into place. All that it holds is on the disk before, and its new name after."""
    for path in (*sorted(aside.rglob("*")), aside):
        _sync(path)
    aside.replace(place)
    _sync(place.parent)


def save(value: object, place: Path) -> None:
    """What torch saves, written aside first."""
    aside = place.with_suffix(".new")
    torch.save(value, aside)
    put(aside, place)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
