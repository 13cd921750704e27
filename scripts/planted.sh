#!/usr/bin/env bash
# Plants the bugs of tests/planted.toml one by one and runs the simulation on each: planted.sh [--seeds N] [NAME...]
# Takes about a minute a bug, and some minutes for the first. With --check it only looks whether they still fit.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "$(scripts/test-tools.sh python)" scripts/planted.py "$@"
