#!/usr/bin/env bash
# Builds the release binary and prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

target=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
if [ ! -x "$target/release/bellwether" ]; then
    note "building bellwether: the first build takes about ten minutes on two cores, later ones are short"
fi
cargo build --release --locked >&2 || die "bellwether could not be built" "read the compiler's first error above"
echo "$target/release/bellwether"
