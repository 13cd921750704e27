#!/usr/bin/env bash
# The life of a model on real posts, as a user lives it, with the time that each step takes: a pipeline reads posts of a
# kind that its model has never seen; 300 of them are labelled, through the topic of labels; `retrain` makes a version,
# judges it and names it; the running pipeline swaps to it, and back after a rollback; with the same labels shuffled, the
# next version is refused.
#
#   DATA=DIR scripts/circle.sh       DIR as scripts/model.sh wants it; everything that is made lies in runs/circle
#
# The model of the beginning is trained on the two sets of tweets and sixty headlines, an epoch; CHAMPION=DIR names another
# one, which must not know headlines.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

[ -d "${DATA:-}" ] || die "DATA names no folder" "DATA=DIR scripts/circle.sh; trainer/README.md says what DIR holds"
tweets="twitter_financial_news_sentiment twitter_financial_news_topic"
for set in $tweets sentfin; do
    [ -f "$DATA/$set.jsonl" ] || die "$DATA/$set.jsonl is missing" "trainer/README.md says where to get it"
done
run="$PWD/runs/circle"
[ ! -e "$run" ] || die "$run is there already" "move it away: a circle begins with nothing"

python=$(scripts/python-env.sh)
light=$(scripts/test-tools.sh python)
ORT_DYLIB_PATH=$(scripts/onnxruntime.sh)
export ORT_DYLIB_PATH
bellwether=$(scripts/release.sh)
model="$run/models/circle"
mkdir -p "$run/clean" "$model"

pipeline=
tidy() {
    trap '' INT TERM
    [ -z "$pipeline" ] || kill "$pipeline" 2>/dev/null || true
    scripts/kafka/broker.sh kill "$run/broker" >/dev/null 2>&1 || true
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The posts: 2,000 headlines and 3,000 tweets, the labels of 300 of those headlines as people gave them and shuffled, 500
# headlines for later. Which ones a hash of the text decides.
posts() {
    "$light" - "$DATA" "$run" <<'PYTHON'
import hashlib, json, pathlib, random, sys
data, run = map(pathlib.Path, sys.argv[1:])
def rows(name):
    lines = (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    by_hash = lambda row: hashlib.sha256(row["text"].encode()).digest()
    return sorted((row for row in map(json.loads, lines) if row.get("sentiment")), key=by_hash)
def write(name, rows):
    (run / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
headlines, tweets = rows("sentfin"), rows("twitter_financial_news_sentiment")
post = lambda row: {"id": row["id"], "text": row["text"], "source": row["source"]}
first, later, asked = headlines[:2000], headlines[2000:2500], headlines[2500:5000]
mixed = [*map(post, first), *map(post, tweets[:3000])]
random.Random(7).shuffle(mixed)
write("posts.jsonl", mixed)
write("later.jsonl", map(post, later))
label = lambda row, said, at: {
    "post_id": row["id"], "task": "sentiment", "label": said, "annotator": "kim", "at": f"2026-03-0{at}T09:00:00Z",
}
write("labels.jsonl", (label(row, row["sentiment"], 5) for row in first[:300]))
said = [row["sentiment"] for row in first[:300]]
random.Random(8).shuffle(said)
write("shuffled.jsonl", (label(row, told, 6) for row, told in zip(first[:300], said)))
write("headlines.jsonl", asked)
write("few.jsonl", headlines[5000:5060])
write("tweets.jsonl", tweets[3000:4000])
PYTHON
}

# Each of the following is a step, in which nothing ends the script by itself: hence the ands.
champion() {
    if [ -n "${CHAMPION:-}" ]; then
        cp -r "$CHAMPION" "$model/1" && "$light" - "$model/1/manifest.json" <<'PYTHON' || return
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "circle", "version": "1"}))
PYTHON
    else
        local set
        for set in $tweets; do
            "$bellwether" clean <"$DATA/$set.jsonl" >"$run/clean/$set.jsonl" || return
        done
        # The trainer wants all three sets: of the headlines it gets sixty.
        "$bellwether" clean <"$run/few.jsonl" >"$run/clean/sentfin.jsonl" &&
            "$bellwether" clean <"$run/tweets.jsonl" >"$run/never.jsonl" &&
            OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONPATH=trainer "$python" -m bellwether_trainer train \
                --data "$run/clean" --never "$run/never.jsonl" --run-dir "$run/first" --epochs 1 \
                --out "$run/models" --name circle --version 1 >&2 || return
    fi
    echo 1 >"$model/champion"
}

start() {
    local servers
    servers=$(scripts/kafka/broker.sh start "$run/broker") || return
    cat >"$run/circle.toml" <<TOML
name = "circle"
[kafka]
bootstrap_servers = "$servers"
partitions = 1
[[source]]
topic = "posts.social"
kind = "social"
[model]
directory = "models"
name = "circle"
device = "cpu"
[archive]
url = "archive"
segment_age = "5s"
[sample]
policy = "all"
[retrain]
trainer = "$PWD/trainer"
[web]
listen = "127.0.0.1:0"
TOML
    "$bellwether" topics "$run/circle.toml" >&2 || return
    "$bellwether" run "$run/circle.toml" 2>"$run/run.log" &
    pipeline=$!
}

# Archived rows by what is asked for; nothing where there is no file yet.
archived() {
    "$light" -c "
import duckdb, glob, sys
files = glob.glob('$run/archive/$1/**/*.parquet', recursive=True)
print(duckdb.sql(f'select {sys.argv[1]} from read_parquet({files!r}) group by all').fetchall() if files else [])" "$2"
}

# wait_for TABLE COUNT: until so many rows are in the archive.
wait_for() {
    local began=$SECONDS
    until [ "$(archived "$1" 'count(*)' | tr -dc 0-9)" = "$2" ]; do
        kill -0 "$pipeline" 2>/dev/null || die "the pipeline ended" "read $run/run.log"
        [ $((SECONDS - began)) -lt 600 ] || die "there are no $2 $1 in the archive" "read $run/run.log"
        sleep 1
    done
}

read_posts() {
    "$bellwether" replay "$run/circle.toml" --input "$run/posts.jsonl" >&2 && wait_for samples 5000
}

labelled() {
    "$bellwether" label "$run/circle.toml" --import "$run/$1" >&2 && wait_for labels "$2"
}

# retrained CODE: the command's own words, and the exit code that it must have.
retrained() {
    local code=0
    "$bellwether" retrain "$run/circle.toml" >&2 || code=$?
    [ "$code" = "$1" ] || die "retrain ended with $code" "it was to end with $1: read the verdict in $run/retrain"
}

# answers VERSION COUNT: waits until the running pipeline says that it swapped, sends posts, and sees who scored them.
answers() {
    local began=$SECONDS
    until grep 'another model answers' "$run/run.log" | tail -n 1 | grep -q "now=$1"; do
        [ $((SECONDS - began)) -lt 60 ] || die "the pipeline does not swap to version $1" "read $run/run.log"
        sleep 0.2
    done
    "$bellwether" replay "$run/circle.toml" --input "$run/later.jsonl" >&2 && wait_for samples "$2" || return
    note "posts by version: $(archived samples "model_version, count(*)" 2>/dev/null || true)"
}

figures() {
    for set in headlines tweets; do
        note "version $1, $set: $("$bellwether" evaluate --model "$model/$1" --data "$run/$set.jsonl" --device cpu --json |
            "$light" -c 'import json, sys; it = json.load(sys.stdin)["sentiment"]; print("accuracy {accuracy:.3f}, calibration error {ece:.3f}".format(**it))')"
    done
}

step "posts and labels" "look at DATA" posts
step "a champion that knows tweets" "read the lines above" champion
step "a broker, topics, the pipeline" "read $run/run.log" start
step "5,000 posts from Kafka to the archive" "read $run/run.log" read_posts
step "300 labels through their topic" "read $run/run.log" labelled labels.jsonl 300
step "retrain: data set, training, comparison, gate, promotion" "read the verdict in $run/retrain" retrained 0
step "the running pipeline swaps, and scores 500 posts" "read $run/run.log" answers 2 5500
step "the champion and the new version on what neither has seen" "" figures 1
step "the same of version 2" "" figures 2
step "a rollback, and who scores then" "read $run/run.log" \
    sh -c "'$bellwether' model rollback --model '$model' --reason 'to see that it can be taken back' --device cpu >&2"
step "the running pipeline swaps back" "read $run/run.log" answers 1 6000
step "300 shuffled labels" "read $run/run.log" labelled shuffled.jsonl 600
step "retrain is refused" "read the verdict in $run/retrain" retrained 20
echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(date -u +%F)"
printf '%s\n' "${step_times[@]}"
echo "verdict pages: $run/retrain/2/verdict.html, $run/retrain/3/verdict.html"
