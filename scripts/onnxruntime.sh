#!/usr/bin/env bash
# Puts ONNX Runtime's shared library into .ort/ and prints its path. It comes from the Python wheel of the pinned
# version, checked by hash; the processor is all that it runs on. Where ORT_DYLIB_PATH is set, that library is
# used instead (a CUDA build, for instance) and nothing is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/say.sh

if [ -n "${ORT_DYLIB_PATH:-}" ]; then
    [ -f "$ORT_DYLIB_PATH" ] || die "ORT_DYLIB_PATH names no file: $ORT_DYLIB_PATH" "correct the path, or unset ORT_DYLIB_PATH"
    note "ONNX Runtime: $ORT_DYLIB_PATH, as ORT_DYLIB_PATH says"
    echo "$ORT_DYLIB_PATH"
    exit 0
fi

version=1.32.0
platform="$(uname -s)-$(uname -m)"
case "$platform" in
    Linux-x86_64) machine=x86_64 sha256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d ;;
    Linux-aarch64) machine=aarch64 sha256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c ;;
    *) die "no ONNX Runtime is pinned for $platform" "get ONNX Runtime $version and set ORT_DYLIB_PATH to its library" ;;
esac

folder="$PWD/.ort"
library="$folder/libonnxruntime.so.$version"
if [ ! -f "$library" ]; then
    note "fetching ONNX Runtime $version (28 MB)"
    aside="$(mktemp -d "$PWD/.ort-XXXXXX")"
    trap 'rm -rf "$aside"' EXIT
    # The wheel is only a box here, so it is always the one for CPython 3.11, whatever Python is installed.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$machine" \
        --dest "$aside" "onnxruntime==$version" >&2 ||
        die "ONNX Runtime could not be fetched" "check the network and pip's index, or set ORT_DYLIB_PATH to a library that you have"
    wheel=$(echo "$aside"/onnxruntime-*.whl)
    echo "$sha256  $wheel" | sha256sum --check --quiet >&2 ||
        die "the wheel of ONNX Runtime $version is not the one that is pinned" "do not use it; ask where your pip index gets it from"
    python3 -m zipfile -e "$wheel" "$aside/wheel"
    mkdir -p "$folder"
    cp "$aside"/wheel/onnxruntime/LICENSE "$aside"/wheel/onnxruntime/ThirdPartyNotices.txt "$folder/"
    cp "$aside"/wheel/onnxruntime/capi/libonnxruntime_providers_shared.so "$folder/"
    # Last, and by a rename: whoever sees the library sees all of it.
    mv "$aside/wheel/onnxruntime/capi/libonnxruntime.so.$version" "$library"
fi
note "ONNX Runtime: $library"
echo "$library"
