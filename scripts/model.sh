#!/usr/bin/env bash
# Trains the shipped model anew: make model DATA=DIR. DIR holds the public sets as JSON lines, under the names that
# trainer/README.md gives. Every file goes through `bellwether clean` first: the trainer reads nothing else.
# Further arguments go to both fine-tunings (ARGS="--batch 32"); NAME, VERSION and OUT say where the model goes,
# NEVER names files of texts that may stand in no training (a test set). What a run has finished, it does not do again.
# A version that is there is never written over, and who answers stays who it is, but where nobody does.
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

version="${OUT:-models}/${NAME:-finance-en}/${VERSION:-1}"
[ ! -e "$version" ] || die "$version is there already" "name another version: make model DATA=DIR VERSION=NUMBER"

python=$(scripts/python-env.sh)
ORT_DYLIB_PATH=$(scripts/onnxruntime.sh)
export ORT_DYLIB_PATH
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

# One thread a process: two of them on two cores are faster than one with two threads, which wait for each other.
trainer() {
    local step=$1
    shift
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=trainer \
        "$python" -m bellwether_trainer "$step" --data "$run/clean" --never "${never[@]}" --run-dir "$@"
}

note "further pre-training, then two fine-tunings beside each other; each run's folder in $run has its log"
trainer pretrain "$run/encoder" --epochs 1
fine_tune() { trainer train "$run/$1" --encoder "$run/encoder/encoder.pt" --seed "$2" "${@:3}"; }
fine_tune first 7 "$@" &
other=$!
fine_tune second 8 "$@"
wait "$other"
note "what the two say together, and a third that learns from it"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
[ -f "$run/teachers/answers.pt" ] || trainer teach "$run/teachers" "$run/first/best.pt" "$run/second/best.pt"
fine_tune third 9 --answers "$run/teachers/answers.pt" "$@"
trainer finish "$run/third" --out "${OUT:-models}" --name "${NAME:-finance-en}" --version "${VERSION:-1}"
trainer compare "$run/third" --model "$version"
note "what it was judged on, all of the validation cut: $version/reference.json, against which a pipeline holds its posts"
"$bellwether" evaluate --model "$version" --data "$run/third/validation.jsonl" --reference
