"""Trains, exports and checks the models of bellwether. See README.md."""

import os

# ONNX Runtime reports to its maker from the moment it is loaded, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
