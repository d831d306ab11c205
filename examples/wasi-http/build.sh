#!/bin/sh
# Builds the example http_server of the crate wstd, as crates.io has it, and imports it as the image
# localhost/wstd-http-server:latest. Needs cargo with the target wasm32-wasip2, which husk's own toolchain has.
# HUSK names the husk to import with, if it is not the one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/wasi-http

(cd "$here" && cargo install --quiet --locked wstd@0.6.8 --example http_server --target wasm32-wasip2 --root "$build" \
    --no-track --force)
"${HUSK:-husk}" image import "$build/bin/http_server.wasm" localhost/wstd-http-server:latest
