"""Temperature and abstention, from the logits of the validation cut.

One temperature a task (Guo and others, 2017): logits are divided by it before the softmax. A task abstains below the
confidence at which its answers on the validation cut are wrong at least as often as right.
"""

import numpy as np

from .errors import DataError


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities, shape and order as the logits (rows, labels)."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean over the rows, in nats."""
    probability = softmax(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(probability, 1e-12, None)).mean())


def temperature(logits: np.ndarray, labels: np.ndarray, low: float = 0.2, high: float = 5.0) -> float:
    """The temperature of least negative log likelihood, by golden-section search on its logarithm."""
    if len(labels) == 0:
        raise DataError("nothing to calibrate on: the validation cut is empty")
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = np.log(low), np.log(high)
    for _ in range(60):
        width = ratio * (right - left)
        inner, outer = right - width, left + width
        if negative_log_likelihood(logits, labels, np.exp(inner)) < negative_log_likelihood(
            logits, labels, np.exp(outer)
        ):
            right = outer
        else:
            left = inner
    return float(np.exp((left + right) / 2.0))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their rows."""
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (place == index).mean() * abs(confidence[place == index].mean() - hit[place == index].mean())
        for index in range(bins)
        if (place == index).any()
    ]
    return float(sum(gaps))


def abstain_below(probabilities: np.ndarray, labels: np.ndarray, rows_min: int = 20) -> float:
    """The highest confidence (steps of 0.01, at most 0.6) below which at most half of the answers are right.

    0 where fewer than `rows_min` answers lie below: too few to judge.
    """
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for step in range(60, 0, -1):
        below = confidence < step / 100
        if below.sum() >= rows_min and hit[below].mean() <= 0.5:
            return step / 100
    return 0.0


def scores(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """What the manifest and the model card tell of one task; every row's best label counts."""
    best = probabilities.argmax(axis=1)
    f1 = []
    for label in range(probabilities.shape[1]):
        both = float(((best == label) & (labels == label)).sum())
        either = float((best == label).sum() + (labels == label).sum())
        if either:
            f1.append(2 * both / either)
    return {
        "n": len(labels),
        "accuracy": round(float((best == labels).mean()), 4),
        "macro_f1": round(float(np.mean(f1)), 4),
        "ece": round(expected_calibration_error(probabilities, labels), 4),
        "abstained": round(float((probabilities.max(axis=1) < threshold).mean()), 4),
    }
