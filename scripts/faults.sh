#!/usr/bin/env bash
# The long form of tests/faults: real processes of the optimised binary on a real Kafka, broken again and again. Prints a
# Markdown table: fault, times, records, lost, twice, and what was measured, as median (worst).
#
#   faults.sh                       as often as it takes: some hours on two cores
#   faults.sh kills=30 outages=5    only these, that often
#
# kills repeats open members zombies outages away disk slow flood terms grown deleted swaps
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

all="kills=100 repeats=20 open=20 members=20 zombies=20 outages=20 away=5 disk=5 slow=5 flood=5 terms=5 grown=2 deleted=2 swaps=100"
counts=${*:-$all}

# The tests of a fault, by the name under which it is counted.
tests_of() {
    case $1 in
        kills) echo faults::crash::a_process_that_is_killed ;;
        repeats) echo faults::crash::at_least_once ;;
        open) echo faults::crash::a_transaction_that_a_dead_process ;;
        members) echo faults::members::processes_that_join ;;
        zombies) echo a_process_that_sleeps ;;
        outages) echo faults::outage::a_broker ;;
        away) echo faults::outage::at_least_once ;;
        disk) echo faults::disk ;;
        slow) echo faults::pace ;;
        flood) echo faults::overload::lag_grows ;;
        terms) echo faults::overload::sigterm ;;
        grown) echo faults::topics::a_partition_that faults::topics::a_topic_of ;;
        swaps) echo faults::swap ;;
        deleted) echo faults::topics::a_topic_that_is_deleted ;;
        *) die "unknown fault: $1" "name one of: $all" ;;
    esac
}
for part in $counts; do
    case $part in *=[1-9]*) tests_of "${part%%=*}" >/dev/null ;; *) die "not FAULT=COUNT: $part" "as in kills=30" ;; esac
done

run="$(mktemp -d)"
tidy() {
    trap '' INT TERM
    find "$run" -name server.properties 2>/dev/null | while read -r properties; do
        scripts/kafka/broker.sh kill "$(dirname "$properties")" || true
    done
    rm -rf "$run"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

ORT_DYLIB_PATH=$(scripts/onnxruntime.sh)
BELLWETHER_TEST_BINARY=$(scripts/release.sh)
BELLWETHER_TEST_KAFKA=$(scripts/kafka/broker.sh start "$run/broker")
mkdir "$run/tmp"
TMPDIR="$run/tmp"
BELLWETHER_FAULTS="$counts"
BELLWETHER_FAULTS_REPORT="$run/report"
export ORT_DYLIB_PATH BELLWETHER_TEST_BINARY BELLWETHER_TEST_KAFKA TMPDIR BELLWETHER_FAULTS BELLWETHER_FAULTS_REPORT

failed=()
for part in $counts; do
    note "$part"
    if ! cargo test --locked --test promises -- $(tests_of "${part%%=*}") --test-threads 1 --nocapture >"$run/out" 2>&1; then
        failed+=("$part")
        cp "$run/out" ".test/faults-${part%%=*}.log"
        grep -A 12 panicked "$run/out" >&2 || true
    elif grep -q '^test result: .* 0 passed' "$run/out"; then
        die "no test of $part ran" "correct its name in tests_of"
    fi
done

echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(date -u +%F); times are median (worst)"
echo
echo "| fault | times | records | lost | twice | measured |"
echo "| --- | --- | --- | --- | --- | --- |"
cat "$run/report" 2>/dev/null || true
[ ${#failed[@]} -eq 0 ] || die "some faults left more than figures behind: ${failed[*]}" "read what they said above, and .test/faults-FAULT.log for all of it"
