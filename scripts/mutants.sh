#!/usr/bin/env bash
# Changes the code of the guarantee (src/stream, segments and their rows, leases) in every small way that cargo-mutants
# knows, one at a time, and looks whether a test of the library notices: mutants.sh [ARGUMENT of cargo mutants...]
# What survives and is not in tests/mutants.md, with the reason, fails.
# Takes long: each change is compiled and tested. No part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

version=27.1.0
tools="$PWD/.test/tools"
if [ "$("$tools/bin/cargo-mutants" mutants --version 2>/dev/null)" != "cargo-mutants $version" ]; then
    note "building cargo-mutants $version, a minute or two"
    env -u CARGO_TARGET_DIR cargo install cargo-mutants --version "$version" --locked --debug --force --quiet \
        --root "$tools" >&2 || die "cargo-mutants $version could not be built" "check that crates.io can be reached"
fi
# Thirty seeds a mutant, and the rules of src/stream/tests.rs, src/pipeline/flow_tests.rs and src/memory/tests.rs; the
# library's other tests look elsewhere. What survives, try again with more: SIMULATION_SEEDS=0..1000 mutants.sh --re NAME
export SIMULATION_SEEDS=${SIMULATION_SEEDS:-0..30} SIMULATION_BRIEF=1 INSTA_UPDATE=no
export PATH="$tools/bin:$PATH"
failed=0
# mutate NAME ARGUMENT...: one round, with its outcome in .test/NAME. It passes where tests/mutants.md has each survivor.
mutate() {
    local name=$1 status=0 mutant
    shift
    # Unoptimised, since each mutant is compiled and hardly runs. What `Debug` prints is promised to nobody.
    cargo mutants --exclude-re 'fmt::Debug' --output ".test/$name" --no-shuffle --baseline run --timeout 40 \
        --cargo-arg=--config=profile.dev.package.bellwether.opt-level=0 \
        --cargo-arg=--config=profile.dev.package.bellwether.debug=false "$@" || status=$?
    # 2: some survived, 3: some hung the tests, which is noticing.
    [[ $status =~ ^[023]$ ]] || failed=$status
    note "$(cd ".test/$name/mutants.out" && wc -l caught.txt missed.txt timeout.txt unviable.txt | sed "s/ *\([0-9]*\) \(.*\)/\2 \1/" | paste -sd " ")"
    # By file and words, since lines move; as often as it is listed.
    [ ! -f ".test/$name/mutants.out/missed.txt" ] || while IFS= read -r mutant; do
        note "survived, and is not in tests/mutants.md: $mutant" && failed=1
    done < <(comm -23 <(sed -E 's/^([^:]+):[0-9]+:[0-9]+:/\1:/' ".test/$name/mutants.out/missed.txt" | sort) \
        <(sed -nE 's/^- `(.*)`$/\1/p' tests/mutants.md | sort))
}
mutate mutants-stream --file 'src/stream/*.rs' --exclude 'src/stream/*tests.rs' --file src/pipeline/flow.rs \
    --file src/memory/source.rs --file 'src/pipeline/archive/*.rs' --cargo-arg=--lib "$@" \
    -- -- stream:: memory:: flow_tests:: limit archive:: simulation::
# The archive is tested on a real folder, by tests/archive.rs.
mutate mutants-archive --file src/archive/segment.rs --file src/archive/columns.rs --file src/archive/store.rs \
    --cargo-arg=--lib --cargo-arg=--test=promises "$@" -- -- archive:: simulation:: --skip duckdb
exit "$failed"
