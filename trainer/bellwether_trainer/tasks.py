"""The two questions that the model answers, their labels in the order of the output, and what data sets call them."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """One classification head. `labels` are in the order of the logits; `aliases` map a data set's name to a label."""

    name: str
    labels: tuple[str, ...]
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """Name of the graph's output that carries this task's logits, shape (batch, labels)."""
        return f"{self.name}_logits"

    def index(self, raw: str) -> int | None:
        """Position of a label, given as ours or as a data set's; None where neither knows it."""
        label = self.aliases.get(raw, raw)
        return self.labels.index(label) if label in self.labels else None


SENTIMENT = Task("sentiment", ("negative", "neutral", "positive"))

_TOPICS = {
    "Analyst Update": "analyst-update",
    "Fed | Central Banks": "central-banks",
    "Company | Product News": "company-news",
    "Treasuries | Corporate Debt": "debt",
    "Dividend": "dividend",
    "Earnings": "earnings",
    "Energy | Oil": "energy",
    "Financials": "financials",
    "Currencies": "currencies",
    "General News | Opinion": "general-news",
    "Gold | Metals | Materials": "materials",
    "IPO": "ipo",
    "Legal | Regulation": "legal",
    "M&A | Investments": "deals",
    "Macro": "macro",
    "Markets": "markets",
    "Politics": "politics",
    "Personnel Change": "personnel",
    "Stock Commentary": "stock-commentary",
    "Stock Movement": "stock-movement",
}

TOPIC = Task("topic", tuple(sorted(_TOPICS.values())), _TOPICS)

TASKS = (SENTIMENT, TOPIC)
