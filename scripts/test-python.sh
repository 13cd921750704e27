#!/usr/bin/env bash
# Runs the Python tests in the light environment (.test/venv), which is installed where it is missing.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

python=${BELLWETHER_TEST_PYTHON:-$(scripts/test-tools.sh python)}
"$python" -m pytest --quiet "$@"
