"""Promise: calibration finds the temperature that a model is off by, and abstains within bounds."""

import numpy as np
import pytest
from bellwether_trainer import calibrate
from bellwether_trainer.errors import DataError


def drawn(rows: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits, multiplied by `scale`, of labels that are drawn from the softmax of the unscaled logits."""
    chance = np.random.default_rng(5)
    logits = chance.normal(size=(rows, 3)) * 2.0
    labels = np.array([chance.choice(3, p=row) for row in calibrate.softmax(logits)])
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_scale(scale: float) -> None:
    logits, labels = drawn(20_000, scale)
    assert calibrate.temperature(logits, labels) == pytest.approx(scale, rel=0.05)


def test_calibrating_brings_the_error_down() -> None:
    logits, labels = drawn(20_000, 3.0)
    before = calibrate.expected_calibration_error(calibrate.softmax(logits), labels)
    heat = calibrate.temperature(logits, labels)
    after = calibrate.expected_calibration_error(calibrate.softmax(logits, heat), labels)
    assert before > 0.1 and after < 0.02


def test_nothing_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(DataError, match="validation cut is empty"):
        calibrate.temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))


def test_it_abstains_where_it_is_least_sure_until_the_rest_is_right_often_enough() -> None:
    sure = np.tile([0.90, 0.05, 0.05], (95, 1))
    probabilities = np.concatenate([np.tile([0.41, 0.39, 0.20], (5, 1)), sure])
    wrong_when_unsure = np.array([1] * 5 + [0] * 95)
    assert calibrate.abstain_below(probabilities, wrong_when_unsure, accuracy=0.99) == 0.42
    assert calibrate.abstain_below(probabilities, np.zeros(100, dtype=int)) == 0.0


def test_it_never_abstains_on_more_than_its_share() -> None:
    confidence = np.linspace(0.34, 0.99, 200)
    probabilities = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)
    threshold = calibrate.abstain_below(probabilities, np.ones(200, dtype=int), share_max=0.1)
    assert 0.08 < (confidence < threshold).mean() <= 0.1


def test_scores_count_every_row() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    found = calibrate.scores(probabilities, np.array([0, 1, 1, 1]), 0.5)
    assert found["n"] == 4 and found["accuracy"] == 0.75 and found["abstained"] == 0.25
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2, abs=1e-4)
