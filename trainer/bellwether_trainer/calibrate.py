"""Temperature and abstention, from the logits of the validation cut.

One temperature a task (Guo and others, 2017): logits are divided by it before the softmax. A task abstains where it is
least sure: just so often that the rest is right often enough, and never on more than one answer in twelve.
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


def abstain_below(
    probabilities: np.ndarray, labels: np.ndarray, accuracy: float = 0.935, share_max: float = 0.085
) -> float:
    """The lowest confidence (steps of 0.01) at and above which answers are right as often as `accuracy`.

    Where that would keep back more than `share_max` of the answers, the highest one that does not; both leave room
    for texts that are a little harder than those of the validation cut.
    """
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    kept_back = 0.0
    for step in range(100):
        answered = confidence >= step / 100
        if 1.0 - answered.mean() > share_max:
            break
        kept_back = step / 100
        if hit[answered].mean() >= accuracy:
            break
    return kept_back


def macro_f1(best: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Mean F1 of the classes that occur, as a truth or as an answer."""
    both = np.bincount(labels[best == labels], minlength=classes)
    either = np.bincount(best, minlength=classes) + np.bincount(labels, minlength=classes)
    return float((2 * both[either > 0] / either[either > 0]).mean())


def scores(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float | None]:
    """What the manifest and the model card tell of one task; every row's best label counts.

    `accuracy_of_answered` is None where it always abstained.
    """
    best = probabilities.argmax(axis=1)
    answered = (best == labels)[probabilities.max(axis=1) >= threshold]
    return {
        "n": len(labels),
        "accuracy": round(float((best == labels).mean()), 4),
        "macro_f1": round(macro_f1(best, labels, probabilities.shape[1]), 4),
        "ece": round(expected_calibration_error(probabilities, labels), 4),
        "abstained": round(float((probabilities.max(axis=1) < threshold).mean()), 4),
        "accuracy_of_answered": round(float(answered.mean()), 4) if len(answered) else None,
    }
