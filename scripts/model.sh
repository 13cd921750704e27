#!/usr/bin/env bash
# Trains the shipped model anew: make model DATA=DIR. DIR holds the public sets as JSON lines, under the names that
# trainer/README.md gives. Every file goes through `bellwether clean` first: the trainer reads nothing else.
# Further arguments go to the trainer (ARGS="--epochs 4"); NAME, VERSION and OUT say where the model goes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

[ -n "${DATA:-}" ] || die "DATA is not set" "make model DATA=DIR; trainer/README.md says what DIR holds"
[ -d "$DATA" ] || die "DATA names no folder: $DATA" "correct the path"
sets="twitter_financial_news_sentiment twitter_financial_news_topic sentfin"
for set in $sets; do
    [ -f "$DATA/$set.jsonl" ] || die "$DATA/$set.jsonl is missing" "trainer/README.md says where to get it"
done

python=$(scripts/python-env.sh)
bellwether=${BELLWETHER:-$(scripts/release.sh)}

run="runs/${NAME:-finance-en}-${VERSION:-1}"
mkdir -p "$run/clean"
for set in $sets; do
    "$bellwether" clean <"$DATA/$set.jsonl" >"$run/clean/$set.jsonl" ||
        die "$DATA/$set.jsonl could not be cleaned" "mend the line that is named above"
done

# Two stages: three epochs from the bare encoder, then two more from the best of those, more slowly.
train() {
    local stage=$1
    shift
    PYTHONPATH=trainer "$python" -m bellwether_trainer train --data "$run/clean" --run-dir "$run/$stage" \
        --out "${OUT:-models}" --name "${NAME:-finance-en}" --version "${VERSION:-1}" "$@"
}
note "training: half an hour or more on two cores; the logs are $run/first/log.jsonl and $run/second/log.jsonl"
train first --epochs 3 --seed 7 "$@"
train second --start "$run/first/best.pt" --epochs 2 --learning-rate 6e-5 --head-learning-rate 3e-4 --seed 8 "$@"
