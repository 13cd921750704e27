"""Plain statements and their negations, written for training: headlines seldom negate, so that who learns from them
alone reads "does not raise its outlook" as good news.

None of the words that lean stands in `negations.py`, by which it is measured whether that was learnt.
"""

import random
from collections.abc import Iterator

from .data import Example
from .tasks import SENTIMENT

SOURCE = "statements"
WEIGHT = 0.5
ROUNDS = 6
"""How often each statement is told, of another company each time."""

_NAMES = (
    "Alder Mining", "Brookside Energy", "Corvane", "Delmar Airlines", "Eastgate", "Ferrous Works", "Glenmore Retail",
    "Hartwell Labs", "Ironbridge", "Juniper Hotels", "Kestrel Media", "Lowland Power", "Marlow", "Nettle Health",
    "Oakhurst", "Palisade Chips", "Quillon", "Redmere Foods", "Saltworks", "Tamarind",
)  # fmt: skip

# Third person, infinitive, past, and what follows.
_GOOD = (
    ("opens", "open", "opened", "new stores"), ("expands", "expand", "expanded", "production"),
    ("boosts", "boost", "boosted", "its payout"), ("doubles", "double", "doubled", "its earnings"),
    ("repays", "repay", "repaid", "its debt early"), ("hires", "hire", "hired", "more staff"),
    ("attracts", "attract", "attracted", "new clients"), ("surges", "surge", "surged", "after the report"),
    ("jumps", "jump", "jumped", "in early trade"), ("climbs", "climb", "climbed", "to a record"),
    ("soars", "soar", "soared", "on the news"), ("advances", "advance", "advanced", "on brisk demand"),
    ("lands", "land", "landed", "a large order"), ("surpasses", "surpass", "surpassed", "its goal"),
    ("posts", "post", "posted", "a bigger profit"), ("strengthens", "strengthen", "strengthened", "its balance sheet"),
    ("resumes", "resume", "resumed", "its buyback"), ("benefits", "benefit", "benefited", "from lower rates"),
    ("receives", "receive", "received", "a higher price target"), ("rebounds", "rebound", "rebounded", "this week"),
)  # fmt: skip
_BAD = (
    ("shuts", "shut", "shut", "a factory"), ("slashes", "slash", "slashed", "its forecast"),
    ("halts", "halt", "halted", "production"), ("suspends", "suspend", "suspended", "its payout"),
    ("recalls", "recall", "recalled", "its cars"), ("plunges", "plunge", "plunged", "after the report"),
    ("sinks", "sink", "sank", "in early trade"), ("slides", "slide", "slid", "to a one-year trough"),
    ("crashes", "crash", "crashed", "on the news"), ("weakens", "weaken", "weakened", "on soft demand"),
    ("posts", "post", "posted", "a deficit"), ("breaches", "breach", "breached", "its loan terms"),
    ("delays", "delay", "delayed", "its new product"), ("scraps", "scrap", "scrapped", "its buyback"),
    ("suffers", "suffer", "suffered", "from higher rates"), ("fires", "fire", "fired", "hundreds of people"),
    ("writes", "write", "wrote", "down its assets"), ("pays", "pay", "paid", "a heavy fine"),
    ("receives", "receive", "received", "a lower price target"), ("retreats", "retreat", "retreated", "this week"),
)  # fmt: skip
_GOOD_STATES = (
    "doing well", "ahead of plan", "solvent", "cheap", "undervalued", "popular with customers", "bullish", "resilient",
    "a leader in its field", "expanding", "in good shape", "upbeat", "thriving", "a bargain", "catching up",
    "stable",
)  # fmt: skip
_BAD_STATES = (
    "struggling", "behind plan", "insolvent", "expensive", "in distress", "unpopular with customers", "bearish",
    "fragile", "a laggard in its field", "contracting", "in bad shape", "gloomy", "collapsing", "a value trap",
    "lagging behind", "under investigation",
)  # fmt: skip


def examples() -> list[Example]:
    """Every statement and a negation of it, which leans the other way; the same ones each time."""
    chance = random.Random(11)
    found = []
    for good, verbs, states in ((True, _GOOD, _GOOD_STATES), (False, _BAD, _BAD_STATES)):
        for _ in range(ROUNDS):
            for plain, negated in _pairs(verbs, states, chance):
                name = chance.choice(_NAMES)
                for text, leans_good in ((plain, good), (negated, not good)):
                    label = SENTIMENT.index("positive" if leans_good else "negative")
                    told = text.format(name=name)
                    found.append(Example(told, SENTIMENT.name, label, WEIGHT, SOURCE, (name,)))
    return found


def _pairs(verbs: tuple, states: tuple[str, ...], chance: random.Random) -> Iterator[tuple[str, str]]:
    for third, base, past, rest in verbs:
        yield chance.choice(
            (
                (f"{{name}} {third} {rest}", f"{{name}} does not {base} {rest}"),
                (f"{{name}} {third} {rest}", f"{{name}} fails to {base} {rest}"),
                (f"{{name}} {past} {rest}", f"{{name}} did not {base} {rest}"),
                (f"{{name}} will {base} {rest}", f"{{name}} will not {base} {rest}"),
                (f"{{name}} can {base} {rest}", f"{{name}} cannot {base} {rest}"),
                (f"{{name}} {past} {rest}", f"{{name}} never {past} {rest}"),
            )
        )
    for state in states:
        yield chance.choice(
            (
                (f"{{name}} is {state}", f"{{name}} is not {state}"),
                (f"{{name}} looks {state}", f"{{name}} does not look {state}"),
                (f"{{name}} was {state}", f"{{name}} was never {state}"),
                (f"Analysts see {{name}} as {state}", f"Analysts do not see {{name}} as {state}"),
                (f"{{name}} is {state}", f"{{name}} is no longer {state}"),
            )
        )
