#!/usr/bin/env bash
# Everything that is checked, on a fresh machine: installs what the tests need into the ignored .test/, starts a Kafka
# broker of its own, checks format, lints, dependencies, alerting rules, Python and Rust, and stops what it started.
# Each step has a name and a time; the first one that fails says what to do. Nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

mkdir -p .test
run="$(mktemp -d "$PWD/.test/run-XXXXXX")"

# Stops every broker below the run's folder: our own, and those of tests that were interrupted.
tidy() {
    local properties
    trap '' INT TERM
    find "$run" -name server.properties 2>/dev/null | while read -r properties; do
        scripts/kafka/broker.sh kill "$(dirname "$properties")" || true
    done
    [ ! -f "$run/broker/log" ] || cp "$run/broker/log" .test/broker.log
    rm -rf "$run"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

tool() { "scripts/test-tools.sh" "$1" >"$run/$1"; }
ort() { scripts/onnxruntime.sh >"$run/ort"; }
broker() { scripts/kafka/broker.sh start "$run/broker"; }
rules() {
    local promtool
    promtool=$(cat "$run/promtool")
    "$promtool" check config monitoring/prometheus/prometheus.yml &&
        "$promtool" check rules monitoring/prometheus/rules.yml &&
        (cd monitoring/prometheus && "$promtool" test rules rules_test.yml)
}
ruff() {
    "$BELLWETHER_TEST_PYTHON" -m ruff check . && "$BELLWETHER_TEST_PYTHON" -m ruff format --check .
}
dependencies() { "$(cat "$run/cargo-deny")" --locked check bans licenses sources; }

install="read what it says above, then run make test again: what is already there is kept"
step "what must be installed" "install what is named above" scripts/prerequisites.sh test
step "format (rustfmt)" "run: cargo fmt" cargo fmt --check
step "ONNX Runtime into .ort" "$install" ort
step "Kafka's jars into .test/kafka" "$install" scripts/kafka/install.sh
step "Python environment into .test/venv" "$install" tool python
step "the trainer's Python environment into trainer/.venv (large)" "$install" scripts/python-env.sh
step "promtool into .test/tools" "$install" tool promtool
step "chromium" "$install" tool chromium
step "cargo-deny into .test/tools (built once, about a minute and a half)" "$install" tool cargo-deny

ORT_DYLIB_PATH=$(cat "$run/ort")
BELLWETHER_TEST_PYTHON=$(cat "$run/python")
BELLWETHER_TEST_CHROMIUM=$(cat "$run/chromium")
export ORT_DYLIB_PATH BELLWETHER_TEST_PYTHON BELLWETHER_TEST_CHROMIUM

step "dependencies: bans, licences, sources (cargo-deny)" "remove the crate, or argue for it in deny.toml" dependencies
step "alerting rules (promtool)" "mend monitoring/prometheus" rules
step "Python format and lints (ruff)" "run: .test/venv/bin/ruff check --fix . && .test/venv/bin/ruff format ." ruff
step "lints (clippy)" "mend what clippy names; an exception is an #[expect] with its reason" \
    cargo clippy --locked --all-targets -- -D warnings
step "the fuzzer compiles" "tests/fuzz holds stand-ins for the rooms that it leaves out: adapt them" \
    cargo check --locked --quiet --lib --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz-check
step "building the Rust tests" "read the compiler's first error above" cargo test --locked --no-run

step "starting a Kafka broker" "read .test/broker.log" broker
BELLWETHER_TEST_KAFKA=$(cat "$run/broker/bootstrap")
# Folders that tests make lie in the run's own, so that nothing stays behind when they are interrupted.
mkdir "$run/tmp"
TMPDIR="$run/tmp"
# A snapshot that differs is a failure, not a file to be looked at later.
INSTA_UPDATE=no
export BELLWETHER_TEST_KAFKA TMPDIR INSTA_UPDATE

step "Python tests of the house" "run one alone: scripts/test-python.sh house -k NAME" scripts/test-python.sh house
step "Python tests of the trainer" "run one alone: scripts/test-python.sh trainer -k NAME" scripts/test-python.sh trainer

printf '\n==> steps so far\n' >&2
printf '%s\n' "${step_times[@]}" >&2
# Last, so that the output ends with the lines in which cargo counts the tests.
printf '\n==> Rust tests\n' >&2
cargo test --locked || die "Rust tests" "run one alone: cargo test NAME; CONTRIBUTING.md says how to start its broker"
