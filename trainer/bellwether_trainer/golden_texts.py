"""The golden inputs of the shipped model: written for this purpose, so that a changed file or runtime shows at once."""

TEXTS = (
    "$NWRL - Northwind Rail beats estimates and raises full-year guidance",
    "Calder Foods posts a wider quarterly loss as costs climb",
    "Fed officials signal that rates will stay higher for longer",
    "Oil falls 3% as crude stockpiles rise unexpectedly",
    "Halden Steel names Maria Lund as chief financial officer",
    "Pinecrest Software downgraded to sell at a large brokerage on weak demand",
    "Quartz Bank declares quarterly dividend of $0.32 a share",
    "Larkspur agrees to buy rival Fenwick for $2.4 billion in cash",
    "Regulators sue Ostrava Pay over misleading fees",
    "Stocks close higher as inflation cools more than forecast",
    "US jobless claims edge up to 231,000, in line with expectations",
    "Merrow Motors recalls 40,000 cars, shares tumble 9% premarket",
)
