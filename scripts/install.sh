#!/usr/bin/env bash
# Puts what a host needs into a folder: make install PREFIX=DIR. The binary with ONNX Runtime beside it (bin/), the
# shipped models, the pipeline files and the trainer, found from there whatever the working directory is. Copy the
# folder to any Linux of the same architecture with this glibc or a newer one; where it is to retrain, run
# scripts/python-env.sh there, which makes the trainer's environment.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

[ -n "${PREFIX:-}" ] || die "PREFIX is not set" "make install PREFIX=DIR"
scripts/prerequisites.sh build
runtime=$(scripts/onnxruntime.sh)
bellwether=$(scripts/release.sh)
install -d "$PREFIX/bin"
install -m 755 "$bellwether" "$PREFIX/bin/bellwether"
install -m 644 "$runtime" "$PREFIX/bin/"
install -m 644 LICENSE "$PREFIX/"
# What somebody wrote there stays: a pipeline file, and which version of a model is its champion.
tar -cf - models pipelines | tar -xf - --skip-old-files --no-same-owner -C "$PREFIX"
# The trainer's environment, if there is one, stays; of an older trainer nothing does.
rm -rf "$PREFIX/trainer/bellwether_trainer"
tar -cf - --exclude=.venv --exclude=__pycache__ --exclude='.*_cache' --exclude=trainer/tests \
    trainer scripts/python-env.sh scripts/say.sh | tar -xf - --no-same-owner -C "$PREFIX"
note "installed: $PREFIX/bin/bellwether doctor $PREFIX/pipelines/market.toml"
