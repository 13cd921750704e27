#!/usr/bin/env bash
# A Kafka broker of one's own: a single node on free ports of the loopback, with all that it has in DIR.
#
#   broker.sh start DIR          starts it, or starts it again on the data and the port that DIR has; prints HOST:PORT
#   broker.sh start DIR FIRST    as a second node of the broker in the folder FIRST, which stays the controller
#   broker.sh stop DIR           SIGTERM: a clean end
#   broker.sh kill DIR           SIGKILL: what a test of faults wants
#
# DIR/bootstrap holds HOST:PORT, DIR/pid the process, DIR/log what it said. Any number may run side by side.
# BELLWETHER_TEST_KAFKA_HEAP is the heap of one (512m unless set), BELLWETHER_TEST_KAFKA_SESSION the milliseconds after
# which its controller takes it for dead (3000 unless set; Kafka's own default is 9000).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../say.sh"

[ $# -eq 2 ] || [ "$#-${1:-}" = 3-start ] || die "usage: $0 start|stop|kill DIR" "name what to do and the broker's folder"
command=$1 first=${3:-}
mkdir -p "$2"
dir="$(cd "$2" && pwd)"

# The process of this folder if it still runs: a recycled process number must never be signalled.
running() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || return 1
    if [ -d /proc/self ]; then
        tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$dir/server.properties" || return 1
    else
        ps -ww -o args= -p "$pid" 2>/dev/null | grep -qF "$dir/server.properties" || return 1
    fi
    echo "$pid"
}

# Whether a process is gone. A zombie whose threads have ended is: it holds no port and no file, and waits for a parent
# that may never ask. An empty command line is not enough, since a dying process has one before it lets go.
gone() {
    if [ -d /proc/self ]; then
        [ ! -d "/proc/$1" ] || { grep -q '^State:.Z' "/proc/$1/status" && [ "$(ls "/proc/$1/task" | wc -l)" -le 1 ]; } 2>/dev/null
    else
        ! kill -0 "$1" 2>/dev/null
    fi
}

# end SIGNAL SECONDS: signals the broker and waits until it is gone, with SIGKILL when the time is over.
end() {
    local pid deadline=$((SECONDS + $2))
    pid=$(running) || { rm -f "$dir/pid"; return 0; }
    kill "-$1" "$pid" 2>/dev/null || true
    until gone "$pid"; do
        if [ $SECONDS -ge $deadline ]; then
            note "the broker in $dir did not stop within $2 s and is killed"
            kill -KILL "$pid" 2>/dev/null || true
            deadline=$((SECONDS + 5))
        fi
        sleep 0.05
    done
    rm -f "$dir/pid"
}

write_properties() {
    local ports
    ports=$(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')
    local client=${ports% *} node=1
    local quorum="1@127.0.0.1:${ports#* }" roles=broker,controller listeners=",CONTROLLER://127.0.0.1:${ports#* }"
    if [ -n "$first" ]; then
        node=2 roles=broker listeners=
        quorum=$(sed -n 's/^controller.quorum.voters=//p' "$first/server.properties")
    fi
    cat >"$dir/server.properties" <<END
process.roles=$roles
node.id=$node
controller.quorum.voters=$quorum
listeners=PLAINTEXT://127.0.0.1:$client$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$client
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
# Kafka's default, which makes a topic for whoever asks for one: none of our clients may.
auto.create.topics.enable=true
# One node: nothing can be replicated. Few internal partitions: a fast start.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# Fast where a test would wait: the start after a SIGKILL (the controller first waits for the broker that died),
# the first rebalance, time-outs of transactions, compaction, retention.
broker.session.timeout.ms=${BELLWETHER_TEST_KAFKA_SESSION:-3000}
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=1000
log.retention.check.interval.ms=5000
END
    echo "127.0.0.1:$client" >"$dir/bootstrap.aside"
}

start() {
    local jars heap=${BELLWETHER_TEST_KAFKA_HEAP:-512m} pid answer=0
    if running >/dev/null; then
        cat "$dir/bootstrap"
        return 0
    fi
    jars=$("$here/install.sh")
    local java=(java "-Xmx$heap" -XX:+UseSerialGC -cp "$jars/*" "-Dlog4j2.configurationFile=$here/log4j2.xml")
    if [ ! -f "$dir/bootstrap" ]; then
        write_properties
        "${java[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --ignore-formatted \
            -t bellwether-test-brokeg -c "$dir/server.properties" >"$dir/log" 2>&1 ||
            die "the broker's storage could not be formatted" "read $dir/log"
        mv "$dir/bootstrap.aside" "$dir/bootstrap"
    fi
    # A session of its own: Ctrl-C reaches the tests, which stop the broker after their clients.
    setsid "${java[@]}" kafka.Kafka "$dir/server.properties" >>"$dir/log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$dir/pid"
    python3 "$here/ready.py" "$(cat "$dir/bootstrap")" 120 "$pid" || answer=$?
    if [ $answer -ne 0 ]; then
        tail -n 20 "$dir/log" >&2 || true
        end KILL 5
        die "the broker in $dir did not become ready" "read $dir/log; try again with a new folder if its port was taken"
    fi
    cat "$dir/bootstrap"
}

case $command in
    start) start ;;
    stop) end TERM 20 ;;
    kill) end KILL 10 ;;
    *) die "unknown command: $command" "use start, stop or kill" ;;
esac
