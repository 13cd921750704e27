"""Statements written for training, and what of them stands in those written for measuring."""

from bellwether_trainer import negations, statements
from bellwether_trainer.tasks import SENTIMENT


def test_each_statement_stands_beside_a_negation_that_leans_the_other_way() -> None:
    """In pairs, of the same company."""
    found = statements.examples()
    assert found == statements.examples()
    assert len(found) == 2 * statements.ROUNDS * 72
    neutral = SENTIMENT.index("neutral")
    for plain, negated in zip(found[::2], found[1::2], strict=True):
        assert plain.names == negated.names
        assert plain.names[0] in plain.text
        assert plain.text != negated.text
        assert {plain.label, negated.label, neutral} == {0, 1, 2}


def test_no_verb_and_no_state_stands_among_those_by_which_it_is_measured() -> None:
    """Else it could be learnt by heart."""
    measured = " ".join(text for pair in negations.PAIRS for text in pair[1:])
    words = {word for word in measured.replace("'", " ").split() if word.islower()}
    for verb in (*statements._GOOD, *statements._BAD):
        assert not words & set(verb[:3]), verb
    for state in (*statements._GOOD_STATES, *statements._BAD_STATES):
        assert state not in measured
