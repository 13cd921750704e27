#!/usr/bin/env bash
# Asks the RustSec database about the dependencies. It is fetched from GitHub, so this is no part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

need cargo "Rust from https://rustup.rs"
need git "git: apt-get install git"
deny=$(scripts/test-tools.sh cargo-deny)
"$deny" --locked check advisories ||
    die "cargo-deny found advisories, or could not fetch them" "update the crates it names; without a network it cannot work"
