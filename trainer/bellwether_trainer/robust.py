"""How steady a model's verdicts are: the same text of another company, with other numbers, shouted, or negated.

Everything is asked of the graph as it ships. A pair counts as kept if both texts get the same label; a negated one as
turned if the first text gets the leaning that it was written with and the second does not.
"""

import random
from collections.abc import Callable, Sequence

import numpy as np

from . import augment
from .bundle import Scorer
from .data import Example
from .negations import PAIRS
from .tasks import SENTIMENT, Task

PAIRS_MAX = 1000


def variants(examples: Sequence[Example]) -> dict[str, list[tuple[str, str]]]:
    """At most a thousand pairs of each kind, of texts that the change does change."""
    choices = augment.pool(examples)
    chance = random.Random(1)

    def named(example: Example) -> str:
        text = example.text
        for name in example.names:
            text = text.replace(name, chance.choice(choices.names))
        return text

    changes: dict[str, Callable[[Example], str]] = {
        "another ticker": lambda example: augment.swap_tags(example.text, choices.tags, chance),
        "another name": named,
        "other numbers": lambda example: augment.scale_numbers(example.text, 2.0 ** chance.uniform(-1.0, 1.0)),
        "upper case": lambda example: example.text.upper(),
        "no punctuation": lambda example: augment.drop_marks(example.text),
    }
    shuffled = list(examples)
    chance.shuffle(shuffled)
    found = {}
    for kind, change in changes.items():
        pairs = ((example.text, change(example)) for example in shuffled)
        found[kind] = [pair for pair in pairs if pair[0] != pair[1]][:PAIRS_MAX]
    return found


def kept(scorer: Scorer, pairs: Sequence[tuple[str, str]], tasks: Sequence[Task]) -> dict[str, float]:
    """The share of pairs with the same label, a task."""
    first, second = (scorer.logits([pair[side] for pair in pairs], tasks) for side in (0, 1))
    return {
        task.name: float(np.mean(first[task.name].argmax(axis=1) == second[task.name].argmax(axis=1))) for task in tasks
    }


def turned(scorer: Scorer) -> dict[str, float]:
    """Of the negation pairs: how many plain texts lean as written, and how many of those turn when negated."""
    plain, negated = (
        scorer.logits([pair[side] for pair in PAIRS], [SENTIMENT])[SENTIMENT.name].argmax(axis=1) for side in (1, 2)
    )
    wanted = np.array([SENTIMENT.index(pair[0]) for pair in PAIRS])
    right = plain == wanted
    return {"read as written": float(right.mean()), "turned": float((negated != wanted)[right].mean())}
