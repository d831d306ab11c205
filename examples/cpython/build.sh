#!/bin/sh
# Builds app.py into a WebAssembly component and imports it as the image localhost/cpython-http:latest.
# Needs Python 3.10 or later with pip; downloads componentize-py from PyPI into target/examples/cpython.
# HUSK names the husk to import with, if it is not the one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/cpython
mkdir -p "$build"

if [ ! -x "$build/venv/bin/componentize-py" ]; then
    python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install --quiet componentize-py==0.25.1
fi

(
    cd "$here"
    "$build/venv/bin/componentize-py" --wit-path wit --world command componentize app --output "$build/cpython-http.wasm"
)
"${HUSK:-husk}" image import "$build/cpython-http.wasm" localhost/cpython-http:latest
