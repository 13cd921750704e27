#!/usr/bin/env bash
# Trains the shipped model anew: make model DATA=DIR. DIR holds the public sets as JSON lines, under the names that
# trainer/README.md gives. Every file goes through `bellwether clean` first: the trainer reads nothing else.
# Further arguments go to both fine-tunings (ARGS="--batch 32"); NAME, VERSION and OUT say where the model goes,
# NEVER names files of texts that may stand in no training (a test set). What a run has finished, it does not do again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

[ -n "${DATA:-}" ] || die "DATA is not set" "make model DATA=DIR; trainer/README.md says what DIR holds"
[ -d "$DATA" ] || die "DATA names no folder: $DATA" "correct the path"
sets="twitter_financial_news_sentiment twitter_financial_news_topic sentfin"
for set in $sets; do
    [ -f "$DATA/$set.jsonl" ] || die "$DATA/$set.jsonl is missing" "trainer/README.md says where to get it"
done
posts=stocknet_tweets
[ ! -f "$DATA/$posts.jsonl" ] || sets="$sets $posts"

python=$(scripts/python-env.sh)
bellwether=${BELLWETHER:-$(scripts/release.sh)}

run="runs/${NAME:-finance-en}-${VERSION:-1}"
mkdir -p "$run/clean" "$run/never"
for set in $sets; do
    "$bellwether" clean <"$DATA/$set.jsonl" >"$run/clean/$set.jsonl" ||
        die "$DATA/$set.jsonl could not be cleaned" "mend the line that is named above"
done
never=()
for file in ${NEVER:-}; do
    "$bellwether" clean <"$file" >"$run/never/$(basename "$file")" || die "$file could not be cleaned" "correct NEVER"
    never+=("$run/never/$(basename "$file")")
done
