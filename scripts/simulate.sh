#!/usr/bin/env bash
# Runs the simulation (src/pipeline/simulation) over many seeds, optimised: simulate.sh [COUNT [FIRST]]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh
count=${1:-100000} first=${2:-0}
export SIMULATION_SEEDS="$first..$((first + count))"
cargo test --locked --release --lib \
    pipeline::simulation::nothing_is_lost_and_nothing_comes_twice_whatever_breaks -- --nocapture | tee /dev/stderr |
    grep "\<$count seeds took" >/dev/null || die "not all of the seeds ran, or one failed" "see above"
