#!/usr/bin/env bash
# The demo on a fresh machine: ONNX Runtime, the release binary, `bellwether demo` with the arguments given.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

scripts/prerequisites.sh build
ORT_DYLIB_PATH=$(scripts/onnxruntime.sh)
export ORT_DYLIB_PATH
bellwether=$(scripts/release.sh)
exec "$bellwether" demo "$@"
