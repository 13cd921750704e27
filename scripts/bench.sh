#!/usr/bin/env bash
# The figures of the README: the release binary and the jars of a broker made ready, then `bellwether bench` with
# the arguments given. The bench starts and stops its broker itself, by scripts/kafka/broker.sh, because the bare
# figure is taken while none runs.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

scripts/prerequisites.sh build
scripts/kafka/install.sh >/dev/null
ORT_DYLIB_PATH=$(scripts/onnxruntime.sh)
export ORT_DYLIB_PATH
bellwether=$(scripts/release.sh)
exec "$bellwether" bench --broker-script scripts/kafka/broker.sh "$@"
