"""Holds an export against the tools' own checks, and answers it as their users would.

argv: the tool, the export, where the answered file goes, and for Label Studio the interface.
"""

import json
import sys
import uuid
from pathlib import Path

tool, export, answered = sys.argv[1], json.loads(Path(sys.argv[2]).read_text("utf-8")), Path(sys.argv[3])


def label_studio() -> list[dict]:
    """Tasks as the tool exports them, one annotated, one skipped, one answered by somebody with an address."""
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface(Path(sys.argv[4]).read_text("utf-8"))
    interface.validate()
    for task in export:
        assert interface.validate_task({"data": task["data"]}, validate_regions_only=False) is not False, task
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction), prediction
    wrong = {"id": "a", "from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": ["angry"]}}
    assert not interface.validate_prediction({"model_version": "1", "result": [wrong]}), "the check can fail"

    def annotation(by: object, **more: object) -> dict:
        value = {"choices": ["positive"]}
        result = [{"id": "x", "from_name": "sentiment", "to_name": "text", "type": "choices", "value": value}]
        found = {
            "completed_by": by,
            "created_at": "2026-03-02T10:00:00.123456Z",
            "was_cancelled": False,
            "result": result,
        }
        assert interface.validate_annotation(found), found
        return found | more

    annotations = [
        [annotation(7)],
        [annotation(7, was_cancelled=True)],
        [annotation({"id": 8, "email": "kim@example.org"})],
    ]
    return [task | {"id": number, "annotations": annotations[number]} for number, task in enumerate(export[:3])]


def argilla() -> list[dict]:
    """Records as the tool exports them, one answered, one as it came."""
    import argilla
    from argilla.records._resource import Record

    records = [Record.from_dict(record) for record in export]
    for record, sent in zip(records, export, strict=True):
        kept = record.to_dict()
        assert (kept["id"], kept["fields"], kept["metadata"]) == (sent["id"], sent["fields"], sent["metadata"]), kept
        assert kept["suggestions"] == sent["suggestions"], kept
    records[0].responses.add(argilla.Response("sentiment", "positive", user_id=uuid.UUID(int=7)))
    return [record.to_dict() for record in records[:2]]


answered.write_text(json.dumps({"label-studio": label_studio, "argilla": argilla}[tool]()), "utf-8")
