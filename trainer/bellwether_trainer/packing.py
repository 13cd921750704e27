"""Batches of rows of like length: these texts are short, and most of a batch drawn blindly would be padding."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

R = TypeVar("R")

POOL_BATCHES = 50


def batches(
    rows: Sequence[R], size: int, shuffle: random.Random | None, length: Callable[[R], int]
) -> Iterator[list[R]]:
    """Shuffled within pools of 50 batches, then as a whole; without `shuffle` simply in order of length."""
    if shuffle is None:
        ordered = sorted(rows, key=length)
        yield from (ordered[start : start + size] for start in range(0, len(ordered), size))
        return
    order = shuffle.sample(range(len(rows)), len(rows))
    pool, cut = size * POOL_BATCHES, []
    for start in range(0, len(order), pool):
        part = sorted((rows[index] for index in order[start : start + pool]), key=length)
        cut += [part[at : at + size] for at in range(0, len(part), size)]
    shuffle.shuffle(cut)
    yield from cut
