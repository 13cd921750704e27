#!/usr/bin/env bash
# Fuzzes what reads the bytes of others, each target by itself: fuzz.sh [SECONDS] [TARGET...]
# (tests/fuzz/targets.rs has the targets; ten minutes each by default). libFuzzer with AddressSanitizer, built on the
# stable toolchain. What it learns stays in the ignored .test/fuzz/, and so does what makes a target fail; then it says
# how to run that once more. fuzz.sh --seeds DIR only makes the seeds, from files of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

targets=(post scored mention alert label letter mapping clean entity pipeline manifest)

# put TARGET NAME: a seed from standard input.
put() {
    mkdir -p "$seeds/$1"
    cat >"$seeds/$1/$2"
}

# make_seeds DIR: a few small files a target.
make_seeds() {
    local event file name number=0 line
    seeds=$1
    for event in post scored mention alert label; do
        for file in schemas/examples/"$event"/v1/*.json; do put "$event" "$(basename "$file")" <"$file"; done
    done
    printf '{"text":"Shares rise"}\0%s' 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 | put post traced
    for event in retraction tick; do
        for file in schemas/examples/"$event"/v1/*.json; do put mention "$event-$(basename "$file")" <"$file"; done
    done
    # Every thirtieth line of the demo: a post, its words, and a record for a mapping.
    while IFS= read -r line; do
        number=$((number + 1))
        printf '%s' "$line" | put post "demo-$number.json"
        printf '%s' "$line" | sed 's/.*"\(text\|headline\)": *"\([^"]*\)".*/\2/' | tee "$seeds/text" | put clean "demo-$number.txt"
        { cat "$seeds/text" && printf '\nXDEM:NORV\n$AAPL'; } | put entity "demo-$number.txt"
        printf '/id /headline,/summary,/text /created_at /meta/0/at /lang /source /author /url /symbols /action\n%s' "$line" |
            put mapping "demo-$number.txt"
    done < <(sed -n '1~30p' pipelines/demo/posts.jsonl)
    rm -f "$seeds/text"
    for file in pipelines/instruments/*.csv pipelines/demo/*.csv; do head -n 12 "$file" | put entity "$(basename "$file")"; done
    for file in pipelines/*.toml; do
        put pipeline "$(basename "$file")" <"$file"
        # Without its remarks and cases it is small enough to be changed everywhere.
        sed -e '/^\[\[test\]\]/,$d' -e 's/ *#.*//' -e '/^$/d' "$file" | put pipeline "small-$(basename "$file")"
    done
    for file in models/*/*/manifest.json; do
        name=$(basename "$(dirname "$(dirname "$file")")")
        put manifest "$name.json" <"$file"
    done
    printf '%s\n' 'feed: seven' '__connect.errors.topic: posts.news' '__connect.errors.partition: 3' \
        '__connect.errors.offset: 42' '__connect.errors.stage: score' \
        '__connect.errors.exception.class.name: malformed' '__connect.errors.exception.message: not one JSON object' \
        'bellwether.truncated: 2097152' 'bellwether.key-truncated: 70000' 'bellwether.headers-left-out: 3' '' '{"id":' | put letter cut
    { printf 'ce_type: bellwether.replay.v1\n\n' && cat schemas/examples/replay/v1/news.json; } | put letter mark
}

build() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    local flags="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" cargo build --locked --release --target "$host" \
        --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz >&2 || return 1
    fuzzer="target/fuzz/$host/release/fuzz"
}

# fuzz TARGET SECONDS
fuzz() {
    local corpus=".test/fuzz/$1" made=".test/fuzz/seeds/$1"
    mkdir -p "$corpus" "$corpus-failed"
    BELLWETHER_FUZZ=$1 "$fuzzer" -max_total_time="$2" -timeout=25 -rss_limit_mb=2048 -max_len=16384 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$corpus-failed/" "$corpus" "$made" 2>"$corpus.log" || {
        tail -n 40 "$corpus.log" >&2
        die "target $1 failed" "BELLWETHER_FUZZ=$1 $fuzzer FILE, with the FILE that is named above"
    }
    note "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$corpus.log") executions in $2 s, no finding"
}

if [ "${1:-}" = --seeds ]; then
    make_seeds "${2:?--seeds needs a folder}"
    exit 0
fi
seconds=600
if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
for target in "$@"; do
    [[ " ${targets[*]} " == *" $target "* ]] || die "there is no target $target" "name some of: ${targets[*]}"
done
[ $# -eq 0 ] || targets=("$@")
rm -rf .test/fuzz/seeds
make_seeds .test/fuzz/seeds
step "building the fuzzer" "read the compiler's first error above" build
for target in "${targets[@]}"; do
    step "fuzzing $target for $seconds s" "mend it, and give it a test of its own" fuzz "$target" "$seconds"
done
