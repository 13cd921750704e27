"""Reads an archive as a user would, with DuckDB and pandas; fails where a type or a value is not what it must be."""

import datetime
import sys
from pathlib import Path

import duckdb
import pandas
import pyarrow
import pyarrow.dataset

root = Path(sys.argv[1])
UTC = pyarrow.timestamp("us", tz="UTC")

connection = duckdb.connect()
connection.execute("set timezone = 'UTC'")
samples = f"read_parquet('{root}/samples/**/*.parquet', hive_partitioning = true)"
described = connection.execute(f"select column_name, column_type from (describe select * from {samples})").fetchall()
# Some versions quote names that are also keywords.
kinds = {name: kind.replace('"', "") for name, kind in described}
for name in ("revision", "published_at", "appended_at", "scored_at"):
    assert kinds[name] == "TIMESTAMP WITH TIME ZONE", (name, kinds[name])
assert kinds["dt"] == "DATE", kinds["dt"]
probabilities = kinds["sentiment_probabilities"]
assert probabilities == "STRUCT(label VARCHAR, probability FLOAT)[]", probabilities
assert kinds["subjects"] == "STRUCT(subject VARCHAR, relevance FLOAT)[]", kinds["subjects"]
assert kinds["origin_offset"] == "BIGINT" and kinds["sample_probability"] == "DOUBLE", kinds

rows = connection.execute(f"select count(*), count(original_text), sum(1 / sample_probability), min(dt) from {samples}")
assert rows.fetchone() == (5, 3, 20.0, datetime.date(2026, 3, 2))
challenged = f"select challenger_version, len(challenger_topic_probabilities) from {samples} where post_id = 'post-1'"
assert set(connection.execute(challenged).fetchall()) == {("2", 4)}
assert connection.execute(f"select count(challenger_version) from {samples} where post_id = 'post-0'").fetchone() == (
    0,
)
best = f"""
    select any_value(p.label) from (select unnest(topic_probabilities) as p from {samples} where post_id = 'post-1')
    where p.probability > 0.35
"""
assert connection.execute(best).fetchone() == ("earnings",)
joined = f"""
    select s.text, l.label from {samples} s
    join read_parquet('{root}/labels/**/*.parquet', hive_partitioning = true) l using (post_id)
"""
assert connection.execute(joined).fetchall() == [("Aurora Mills lifts its outlook — “a good year”", "negative")]

frame = pandas.read_parquet(root / "samples")
assert len(frame) == 5, len(frame)
assert str(frame["published_at"].dtype) == "datetime64[us, UTC]", frame["published_at"].dtype
first = frame[frame["post_id"] == "post-0"].iloc[0]
assert first["appended_at"] == pandas.Timestamp("2026-03-02T13:29:59.000123Z")
assert {entry["label"] for entry in first["sentiment_probabilities"]} == {"negative", "neutral", "positive"}
assert len(first["topic_probabilities"]) == 4 and pandas.isna(first["topic_label"])
assert first["subjects"][0]["subject"] == "XNYS:AUM" and first["topic_reason"] == "low-confidence"

schema = pyarrow.dataset.dataset(root / "samples", partitioning="hive").schema
assert schema.field("scored_at").type == UTC, schema.field("scored_at")
