#!/bin/sh
# Compiles hello.c to a WebAssembly module (WASI 0.1) and imports it as the image localhost/hello-c:latest.
# Needs Python 3 with pip; downloads the Zig toolchain, whose C compiler it uses, from PyPI into target/examples/c.
# HUSK names the husk to import with, if it is not the one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/c
mkdir -p "$build"

if [ ! -x "$build/venv/bin/python" ] || ! "$build/venv/bin/python" -c 'import ziglang' 2>/dev/null; then
    python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install --quiet ziglang==0.17.0
fi

ZIG_GLOBAL_CACHE_DIR=$build/cache ZIG_LOCAL_CACHE_DIR=$build/cache \
    "$build/venv/bin/python" -m ziglang cc -target wasm32-wasi -Os -s -o "$build/hello.wasm" "$here/hello.c"
"${HUSK:-husk}" image import "$build/hello.wasm" localhost/hello-c:latest
