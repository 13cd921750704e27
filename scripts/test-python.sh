#!/usr/bin/env bash
# Runs the Python tests of one part, each in an environment of its own, which is installed where it is missing:
#
#   test-python.sh house [ARGUMENT...]      tests/, in the light environment .test/venv
#   test-python.sh trainer [ARGUMENT...]    trainer/tests/, in the trainer's environment, which is large
#
# Arguments go to pytest: test-python.sh house -k broker
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

part=${1:-}
[ $# -eq 0 ] || shift
case "$part" in
    house)
        python=${BELLWETHER_TEST_PYTHON:-$(scripts/test-tools.sh python)}
        exec "$python" -W error -m pytest tests "$@"
        ;;
    trainer)
        python=$(scripts/python-env.sh)
        BELLWETHER_TEST_PYTHON=${BELLWETHER_TEST_PYTHON:-$(scripts/test-tools.sh python)}
        export BELLWETHER_TEST_PYTHON
        exec "$python" -m pytest trainer/tests "$@"
        ;;
    *) die "unknown part: ${part:-none given}" "name house or trainer" ;;
esac
