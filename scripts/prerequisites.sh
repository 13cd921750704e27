#!/usr/bin/env bash
# Checks that the programs are there which building bellwether needs (`build`), or its tests as well (`test`),
# and names what to install for the first one that is missing. It installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

need cargo "Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer from https://rustup.rs"
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(cargo --version | cut -d' ' -f2)
oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)
[ "$oldest" = "$wanted" ] || die "cargo $found is too old" "rustup update stable (version $wanted or newer is needed)"

need cc "a C compiler: apt-get install gcc"
need c++ "a C++ compiler: apt-get install g++"
need make "make: apt-get install make"
need perl "perl, which builds OpenSSL: apt-get install perl"
need python3 "Python 3.9 or newer: apt-get install python3 python3-pip"
python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip" "apt-get install python3-pip"

if [ "${1:-build}" = test ]; then
    cargo fmt --version >/dev/null 2>&1 || die "rustfmt is not installed" "rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "clippy is not installed" "rustup component add clippy"
    need java "Java 17 or newer: apt-get install openjdk-17-jre-headless"
    java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${java:-0}" -ge 17 ] || die "java ${java:-of an unknown version} is too old" "apt-get install openjdk-17-jre-headless"
    need mvn "Maven: apt-get install maven"
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "the tests need Python 3.11 or newer with venv" "apt-get install python3-venv"
fi
