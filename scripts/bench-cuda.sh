#!/usr/bin/env bash
# The figures of `make bench` on a CUDA device: ORT_DYLIB_PATH=… MODEL=DIR scripts/bench-cuda.sh [ARGUMENT...]
#
# ORT_DYLIB_PATH is the library of a CUDA build of ONNX Runtime (the wheel onnxruntime-gpu 1.31.1 has one for CUDA 13),
# MODEL the folder of a model whose manifest has a variant for cuda: the shipped one has int8 for the CPU alone, and
# `python -m bellwether_trainer variant models/finance-en/3` adds one (trainer/README.md). Arguments
# go to `bellwether bench`. Where the device cannot be had, it ends with the reason; nothing falls back to the CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

[ -n "${ORT_DYLIB_PATH:-}" ] || die "ORT_DYLIB_PATH is not set" "name the library of a CUDA build of ONNX Runtime"
[ -d "${MODEL:-}" ] || die "MODEL names no folder" "name the folder of a model's versions, with a variant for cuda"
scripts/prerequisites.sh build
scripts/kafka/install.sh >/dev/null
bellwether=$(scripts/release.sh)
MODEL=$(realpath "$MODEL")
export BELLWETHER__MODEL__DIRECTORY=${MODEL%/*} BELLWETHER__MODEL__NAME=${MODEL##*/} BELLWETHER__MODEL__DEVICE=cuda:0
exec "$bellwether" bench --broker-script scripts/kafka/broker.sh "$@"
