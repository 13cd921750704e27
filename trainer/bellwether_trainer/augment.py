"""The same text told of another company, with other numbers or worse punctuation: what it means stays.

Numbers of one text are multiplied by one factor, so that "from 5 to 8" still goes up; years stay. Names are swapped
only where a set says which words are names (SEntFiN does). Case needs nothing: the tokeniser lowers it.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .data import Example

_TAG = re.compile(r"\$[A-Za-z]{1,6}\b")
_NUMBER = re.compile(r"(?<![\w.,$-])\d[\d,]*(?:\.\d+)?|(?<=\$)\d[\d,]*(?:\.\d+)?")
_MARKS = re.compile(r"[^\w\s$@#%&+-]|(?<=\s)[-+](?=\s)")


@dataclass(frozen=True)
class Pool:
    """What stands in for what: the cashtags and the names of the training texts."""

    tags: tuple[str, ...]
    names: tuple[str, ...]


def pool(examples: Iterable[Example]) -> Pool:
    """Each cashtag and name once, sorted, so that rare ones come as often as common ones."""
    tags, names = set(), set()
    for example in examples:
        tags.update(_TAG.findall(example.text))
        names.update(example.names)
    return Pool(tuple(sorted(tags)), tuple(sorted(names)))


def vary(text: str, names: tuple[str, ...], choices: Pool, share: float, chance: random.Random) -> str:
    """Each kind of change happens to a `share` of the texts, independently of the others."""
    if chance.random() < share and choices.tags:
        text = swap_tags(text, choices.tags, chance)
    if chance.random() < share and choices.names:
        for name in names:
            text = text.replace(name, chance.choice(choices.names))
    if chance.random() < share:
        text = scale_numbers(text, 2.0 ** chance.uniform(-1.0, 1.0))
    if chance.random() < share:
        text = drop_marks(text)
    return text


def drop_marks(text: str) -> str:
    """The text without punctuation."""
    return " ".join(_MARKS.sub(" ", text).split())


def swap_tags(text: str, tags: tuple[str, ...], chance: random.Random) -> str:
    """Every cashtag becomes another, the same one everywhere in the text."""
    others: dict[str, str] = {}
    return _TAG.sub(lambda found: others.setdefault(found[0], chance.choice(tags)), text)


def scale_numbers(text: str, factor: float) -> str:
    """Every number times the factor, with as many decimals and separators as it had; years stay."""

    def scaled(found: re.Match[str]) -> str:
        raw = found[0]
        plain = raw.replace(",", "")
        decimals = len(plain.partition(".")[2])
        if re.fullmatch(r"(19|20)\d\d", raw.rstrip(",")) or not plain:
            return raw
        comma = "," if "," in raw.rstrip(",") else ""
        tail = raw[len(raw.rstrip(",")) :]
        return f"{float(plain) * factor:{comma}.{decimals}f}{tail}"

    return _NUMBER.sub(scaled, text)
