"""Opens a data set of `bellwether dataset` as Hugging Face's `datasets` does, and prints what it finds as JSON."""

import json
import sys
import tempfile

from datasets import load_dataset

with tempfile.TemporaryDirectory() as cache:
    found = load_dataset(sys.argv[1], cache_dir=cache)
    print(
        json.dumps(
            {
                "rows": {name: split.num_rows for name, split in found.items()},
                "columns": found["train"].column_names,
                "types": {name: str(kind.dtype) for name, kind in found["train"].features.items()},
                "first": found["train"][0]["text"],
            }
        )
    )
