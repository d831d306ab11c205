#!/bin/sh
# Builds app.js into a WebAssembly component and imports it as the image localhost/hello-javascript:latest.
# Needs Node.js 20 or later with npm; downloads jco (340 MB unpacked) from npm into target/examples/javascript.
# HUSK names the husk to import with, if it is not the one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/javascript
jco=$build/node_modules/@bytecodealliance/jco
mkdir -p "$build"

if [ ! -d "$jco" ]; then
    npm install --silent --no-audit --no-fund --prefix "$build" @bytecodealliance/jco@1.35.0
fi

# The interfaces of WASI 0.3 that the world names are part of jco.
rm -rf "$build/wit"
mkdir -p "$build/wit"
cp "$here/wit/world.wit" "$build/wit"
cp -R "$jco/lib/wit/builtin/0.3.0" "$build/wit/deps"

"$build/node_modules/.bin/jco" componentize "$here/app.js" --backend qjs --wit "$build/wit" --world-name service \
    --out "$build/service.wasm"
"${HUSK:-husk}" image import "$build/service.wasm" localhost/hello-javascript:latest
