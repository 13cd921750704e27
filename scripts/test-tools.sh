#!/usr/bin/env bash
# Installs one tool that the tests need, where it is missing, and prints its path:
#
#   test-tools.sh cargo-deny    built from crates.io, about a minute and a half on two cores
#   test-tools.sh promtool      taken out of Debian's prometheus package, which is not installed: it would start a server
#   test-tools.sh chromium      Debian's package, which only root can install
#   test-tools.sh python        the light Python environment of scripts/requirements.txt
#
# All but chromium go into the ignored .test/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh
tools="$PWD/.test/tools"
mkdir -p "$tools/bin"

deny_version=0.20.2

cargo_deny() {
    if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $deny_version" ]; then
        # Unoptimised and without its advisory fetching over gix: a quarter of the time to build, and run for seconds.
        env -u CARGO_TARGET_DIR cargo install cargo-deny --version "$deny_version" --locked --no-default-features --debug \
            --force --quiet --root "$tools" >&2 ||
            die "cargo-deny $deny_version could not be built" "check that crates.io, or the mirror in ~/.cargo/config.toml, can be reached"
    fi
    echo "$tools/bin/cargo-deny"
}

# fetch_deb PACKAGE FOLDER: Debian's package as a file, with fresh package lists where the old ones do not serve.
fetch_deb() {
    (cd "$2" && apt-get download --quiet "$1" >&2) && return 0
    [ "$(id -u)" = 0 ] && apt-get update --quiet >&2 && (cd "$2" && apt-get download --quiet "$1" >&2)
}

promtool() {
    # type -P looks for programs only, and so does not find this function.
    if type -P promtool; then
        return 0
    fi
    if [ ! -x "$tools/bin/promtool" ]; then
        local remedy="put promtool of Prometheus 2.42 or newer on the PATH: https://prometheus.io/download"
        command -v apt-get >/dev/null 2>&1 || die "promtool is missing and this is no Debian" "$remedy"
        aside="$(mktemp -d)"
        trap 'rm -rf "$aside"' EXIT
        fetch_deb prometheus "$aside" || die "Debian's prometheus package could not be fetched" "$remedy"
        dpkg-deb -x "$aside"/prometheus_*.deb "$aside/files"
        mv "$aside/files/usr/bin/promtool" "$tools/bin/promtool"
    fi
    echo "$tools/bin/promtool"
}

chromium() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if type -P "$name"; then
            return 0
        fi
    done
    local remedy="install Chromium as root: apt-get install chromium"
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || die "chromium is missing" "$remedy"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --quiet --yes --no-install-recommends chromium >&2 ||
        { apt-get update --quiet >&2 && apt-get install --quiet --yes --no-install-recommends chromium >&2; } ||
        die "chromium could not be installed" "$remedy"
    type -P chromium
}

python() {
    local venv="$PWD/.test/venv"
    if ! cmp -s scripts/requirements.txt "$venv/requirements.txt"; then
        python3 -m venv "$venv" >&2 || die "no Python environment could be made" "apt-get install python3-venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement scripts/requirements.txt >&2 ||
            die "the Python packages could not be installed" "check that pip's index can be reached"
        # The copy says what is inside; written last, so that half an environment is never taken for one.
        cp scripts/requirements.txt "$venv/requirements.txt"
    fi
    echo "$venv/bin/python"
}

case "${1:-}" in
    cargo-deny) cargo_deny ;;
    promtool) promtool ;;
    chromium) chromium ;;
    python) python ;;
    *) die "unknown tool: ${1:-none given}" "name cargo-deny, promtool, chromium or python" ;;
esac
