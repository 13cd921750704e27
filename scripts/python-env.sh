#!/usr/bin/env bash
# Makes the trainer's Python environment, trainer/.venv, with the versions of trainer/requirements.txt, and prints the
# path of its Python. One that is there and was made from the same requirements is used as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

venv="$PWD/trainer/.venv"
size_mb=4700    # what it takes once installed
needed_mb=7500  # with what is fetched meanwhile

wanted=$(sha256sum trainer/requirements.txt | cut -d' ' -f1)
if [ "$(cat "$venv/requirements.sha256" 2>/dev/null)" = "$wanted" ]; then
    echo "$venv/bin/python"
    exit 0
fi

# The first Python that has wheels of everything: 3.11 to 3.13.
python=
for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || die "the trainer needs Python 3.11, 3.12 or 3.13 with venv" "apt-get install python3-venv"

free_mb=$(df -Pm trainer | awk 'NR == 2 { print $4 }')
[ "$free_mb" -ge "$needed_mb" ] ||
    die "the trainer's environment needs $needed_mb MB of disk, $free_mb MB are free" "free some space, or move the checkout"
note "making the trainer's environment: $size_mb MB on disk (2.5 GB to fetch), a few minutes"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-cache-dir \
    --requirement trainer/requirements.txt >&2 ||
    die "the trainer's packages could not be installed" "check that the Python package index can be reached, then run it again"
"$venv/bin/python" -c 'import onnxruntime, torch, transformers' ||
    die "the trainer's packages do not load" "read the error above"
echo "$wanted" >"$venv/requirements.sha256"
echo "$venv/bin/python"
