"""Two sets of answers to the same labelled rows: how far apart are they, and how much of that is chance?

Paired bootstrap: rows are drawn with replacement, both answers of a row together, so what is hard for both cancels.
"""

from dataclasses import dataclass

import numpy as np

from .calibrate import macro_f1

DRAWS = 2000


@dataclass(frozen=True)
class Difference:
    """Second minus first, with the middle 95 % of the bootstrap's draws."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:+.2f} points [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def paired(first: np.ndarray, second: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, Difference]:
    """`accuracy` and `macro_f1` of the second's labels against the first's, rows in the same order."""
    chance = np.random.default_rng(1)
    drawn = {"accuracy": [], "macro_f1": []}
    for _ in range(DRAWS):
        rows = chance.integers(len(labels), size=len(labels))
        truth, one, other = labels[rows], first[rows], second[rows]
        drawn["accuracy"].append((other == truth).mean() - (one == truth).mean())
        drawn["macro_f1"].append(macro_f1(other, truth, classes) - macro_f1(one, truth, classes))
    whole = {
        "accuracy": (second == labels).mean() - (first == labels).mean(),
        "macro_f1": macro_f1(second, labels, classes) - macro_f1(first, labels, classes),
    }
    return {
        name: Difference(float(whole[name]), *(float(edge) for edge in np.quantile(values, (0.025, 0.975))))
        for name, values in drawn.items()
    }
